"""What the checks say, on the page, in the report, in a checklist and in the terminal."""

from dataclasses import asdict

import numpy as np
import pytest

from polyp_core.checks import EFFECTS
from polyp_core.checks.wording import (
    FEW,
    FINE,
    SIGN,
    UNKNOWN,
    is_robust,
    is_sound,
    list_shortcuts,
    say_border,
    say_place,
    say_robustness,
)
from polyp_core.metrics import Metric, estimate_auc, estimate_proportion


def make_metric(value, low=None, high=None, n=20, **further):
    return {"value": value, "low": low, "high": high, "n": n} | further


def make_place(saliency=0.31, area=0.40, excess=(-0.15, -0.03), num_with=20, **classes):
    def describe(saliency, area, excess):
        return {
            "num_images": 20, "num_with": num_with, "unit": "patient",
            "saliency": make_metric(saliency, saliency - 0.05, saliency + 0.05),
            "area": make_metric(area, area, area), "evidence": make_metric(saliency, 0, 1),
            "excess": make_metric(saliency - area, *excess),
        }  # fmt: skip

    names = {"normal": (saliency, area, excess), "ill": (saliency, area, excess)} | classes
    return {
        "all": describe(saliency, area, excess),
        "classes": {name: describe(*values) for name, values in names.items()},
    }


def make_border(high=0.01):
    return {
        "width": 0.1, "area": 0.36,
        "image": {
            "auc": asdict(Metric(0.9, 0.8, 0.95, 20)),
            "auc_blanked": asdict(Metric(0.84, 0.7, 0.9, 20)),
            "difference": make_metric(-0.06, -0.12, high, p_value=0.04),
        },
    }  # fmt: skip


def make_found(num_patients=None, **places) -> dict:
    """checks.json; each step of noise takes 0.1 of the AUC, all else nothing."""
    labels = np.array([0, 1] * 10)

    def describe(drop):
        auc = asdict(estimate_auc(labels, labels + np.linspace(0, 1, 20)))
        return {
            "auc": auc | {"value": 0.9 - drop, "low": 0.8 - drop, "high": 1 - drop},
            "accuracy": asdict(estimate_proportion(15, 20)),
            "mean_change": make_metric(drop, drop, drop),
        }

    effects = []
    for effect in EFFECTS:
        steps = enumerate(zip((0.0, *effect.strengths), ("as it is", *effect.labels), strict=True))
        levels = [
            {"strength": strength, "label": label,
             "image": describe(0.1 * step * (effect.name == "noise"))}
            for step, (strength, label) in steps
        ]  # fmt: skip
        effects.append({"effect": effect.name, "title": effect.title, "unit": effect.unit,
                        "levels": levels})  # fmt: skip
    return {
        "num_images": 20, "num_validation_images": 20, "num_left_out": 0,
        "num_patients": num_patients, "threshold": 0.5, "robustness": effects,
        "shortcuts": {"outside": make_place(), "text": make_place(), "border": make_border()}
        | places,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "verdict", "part"),
    [
        (make_place(), FINE, "no sign of a shortcut."),
        (make_place(0.6, 0.4, (0.1, 0.3)), SIGN, "more than its area explains. This can be"),
        # In one class alone.
        (make_place(ill=(0.7, 0.4, (0.2, 0.4))), SIGN, "but in images of ill it is more than its"),
        # Surely more than its area, yet next to nothing.
        (make_place(0.03, 0.01, (0.01, 0.03)), FINE, "too little to carry an answer."),
        # The interval excludes neither.
        (make_place(0.31, 0.40, (-0.3, 0.1)), FEW, "of the picture: too few images to tell."),
        (make_place(num_with=4), FINE, "in the 4 of 20 images that have any"),
    ],
)
def test_where_the_model_looks_in_words(place, verdict, part):
    found, said = say_place("text", place)
    assert found == verdict
    assert part in said
    assert "on burned-in text" in said


def test_one_image_tells_nothing():
    place = make_place(0.01, 0.01, (-1.0, 1.0), num_with=1)
    place["all"]["saliency"] = make_metric(0.01, 0.0, 1.0, n=1)
    verdict, said = say_place("text", place)
    assert verdict == FEW
    assert said.endswith("in the 1 of 20 images that have any: too few images to tell.")
    place["all"]["saliency"] = make_metric(0.01, 0.01, 0.01, n=2)  # which happen to be alike
    assert say_place("text", place)[0] == FEW


def test_a_place_that_no_image_has_is_no_good_news():
    place = make_place(num_with=0)
    place["all"]["saliency"] = make_metric(None, n=0, reason="No text was found.")
    verdict, said = say_place("text", place)
    assert (verdict, said) == (UNKNOWN, "No text was found.")


def test_a_border_of_one_class_is_not_judged():
    border = make_border()
    border["image"]["auc"] = make_metric(None, reason="All of these are of one class.")
    verdict, said = say_border(border)
    assert verdict == UNKNOWN
    assert "All of these are of one class" in said


@pytest.mark.parametrize(("low", "verdict"), [(-0.12, FEW), (-0.02, FINE)])
def test_a_border_of_a_wide_interval_is_no_good_news(low, verdict):
    border = make_border()
    border["image"]["difference"]["low"] = low
    found, said = say_border(border)
    assert found == verdict
    assert ("too few images to tell" in said) == (verdict == FEW)


def test_the_border_is_judged_by_patient_where_patients_are_known():
    border = make_border()
    border["patient"] = make_border(high=-0.02)["image"]
    assert say_border(border)[0] == SIGN


def test_what_a_model_bears_in_words():
    effects = make_found()["robustness"]
    said = say_robustness(effects, "image", "auc")
    assert said == (
        "AUC 0.90 (0.80–1.00) falls most under noise: to 0.50 (0.40–0.60) at 40 of 255 grey "
        "levels. It hardly changes under blur, gain, turn and JPEG."
    )
    calm = say_robustness(effects, "image", "accuracy")
    assert "hardly falls under any of these" in calm
    assert not is_robust(effects, "image", "auc")
    assert is_robust(effects, "image", "accuracy")


def test_all_that_was_looked_at_has_its_sentence():
    found = make_found(text=make_place(0.6, 0.4, (0.1, 0.3)), border=make_border(high=-0.01))
    verdicts, sentences = zip(*list_shortcuts(found), strict=True)
    assert verdicts == (FINE, SIGN, SIGN)
    assert "95 % interval −0.12 to −0.01, p = 0.040" in sentences[2]


@pytest.mark.parametrize(
    "change",
    [{"shortcuts": {}}, {"robustness": []}, {"num_images": None}, {"num_patients": 3},
     {"robustness": [{"levels": [{"image": {"auc": {"value": 0.9}}}]}]}],
)  # fmt: skip
def test_what_misses_a_part_is_of_no_use(change):
    assert is_sound(make_found())
    assert not is_sound(make_found() | change)
