import json
import shutil
from dataclasses import asdict, replace

import pytest

from polyp_core import origins
from polyp_core.origins import are_patients_known, read_origin
from polyp_core.presets import get_preset
from polyp_core.runs import Run
from polyp_core.study_worker import prepare_member
from polyp_core.workspace import DEMO_RUN, get_demo_data_dir
from tests.core.studies import make_index, make_study

TOLD = {
    "synthetic": True, "demo": False, "patients_known": True, "own_backbone_weights": True,
    "study": {
        "name": "mine", "caution": "Take care.", "member": "fold-2-seed-5-share-25",
        "plan": {"num_folds": 3, "seeds": [5, 6], "shares": [0.25, 1.0]},
    },
}  # fmt: skip


def make_run(folder, index, **settings) -> Run:
    run = Run(folder)
    run.directory.mkdir(parents=True)
    config = json.loads(DEMO_RUN.path("config.json").read_text())
    for section, values in settings.items():
        config["settings"][section] |= values
    run.write_json("config.json", config)
    run.write_table("index.csv", index.images)
    return run


def test_the_model_that_ships_is_the_demo_and_of_synthetic_images():
    origin = read_origin(DEMO_RUN)

    assert origin.is_demo
    assert origin.is_synthetic
    assert origin.are_patients_known
    assert not origin.has_own_backbone_weights
    assert not origin.is_shared
    assert origin.study is None


def test_a_copy_of_it_is_no_demo_but_its_images_stay_synthetic(tmp_path):
    origin = read_origin(Run(shutil.copytree(DEMO_RUN.directory, tmp_path / "mine")))

    assert not origin.is_demo
    assert origin.is_synthetic


@pytest.mark.parametrize(("below", "expected"), [("", True), ("train", True), ("../other", False)])
def test_a_run_on_the_images_of_the_demo_is_of_synthetic_images(tmp_path, below, expected):
    folder = get_demo_data_dir() / below
    run = make_run(tmp_path / "run", make_index(folder), data={"folder": str(folder)})

    assert read_origin(run).is_synthetic is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, True), ({0: ""}, False), ({0: "p0_0.png"}, False), ("path", False)],
)
def test_a_file_that_stands_for_itself_is_no_known_patient(tmp_path, change, expected):
    index = make_index(tmp_path)
    images = index.images.copy()
    if change == "path":
        images["group"] = images["path"]
    else:
        images["group"] = images["group"].replace("nobody", "")
        for row, group in change.items():
            images.loc[row, "group"] = group

    assert are_patients_known(images) is expected
    run = make_run(tmp_path / "run", replace(index, images=images))
    assert read_origin(run).are_patients_known is expected
    assert not are_patients_known(images.head(0))


def test_a_file_of_weights_that_was_given_is_known_without_its_name(tmp_path):
    model = replace(get_preset("transfer").model, backbone_weights="/home/smith/own.h5")
    run = make_run(
        tmp_path / "run", make_index(tmp_path), model=asdict(model), training={"ema": 0.0}
    )

    assert read_origin(run).has_own_backbone_weights
    assert "smith" not in str(read_origin(run))


def test_members_and_the_ensemble_know_their_study_by_their_place(tmp_path, monkeypatch):
    study = make_study(monkeypatch, tmp_path / "studies", make_index(tmp_path, 12), num_seeds=2)
    study.files.write_json("metrics.json", {"caution": "Take care."})
    prepare_member(study, study.members[1])
    shutil.copytree(study.members[1].run.directory, study.ensemble.directory)

    member, ensemble = read_origin(study.members[1].run), read_origin(study.ensemble)

    assert (member.member_of, member.ensemble_of) == (member.study, None)
    assert (ensemble.member_of, ensemble.ensemble_of) == (None, ensemble.study)
    for origin in (member, ensemble):
        assert (origin.study.name, origin.study.caution) == ("mine", "Take care.")
        assert origin.study.plan["seeds"] == [0, 1]
        assert origin.study.num_members == 4
        assert origin.study.has_folds
    assert member.study.place == (2, 0, 100)
    assert ensemble.study.place is None


def test_a_folder_that_is_called_like_one_of_a_study_is_none(tmp_path):
    for place in ("ensemble", "members/fold-1-seed-0"):
        assert read_origin(make_run(tmp_path / place, make_index(tmp_path))).study is None


def test_a_copy_that_was_given_away_tells_what_its_place_does_not(tmp_path):
    run = make_run(tmp_path / "run", make_index(tmp_path))
    run.write_json(origins.FILE, TOLD)

    origin = read_origin(run)

    assert (origin.is_shared, origin.is_synthetic) == (True, True)
    assert origin.has_own_backbone_weights
    assert origin.study.place == (2, 5, 25)
    run.write_json(origins.FILE, TOLD | {"patients_known": False, "study": TOLD["study"]
                                         | {"member": "ensemble"}})  # fmt: skip
    assert not read_origin(run).are_patients_known
    assert read_origin(run).ensemble_of.num_members == 6


@pytest.mark.parametrize(
    "study",
    [None, 5, {}, TOLD["study"] | {"plan": None}, TOLD["study"] | {"plan": {"num_folds": "3"}},
     TOLD["study"] | {"plan": TOLD["study"]["plan"] | {"seeds": []}},
     TOLD["study"] | {"caution": None}],
)  # fmt: skip
def test_what_is_damaged_in_it_is_not_known(tmp_path, study):
    run = make_run(tmp_path / "run", make_index(tmp_path))
    run.write_json(origins.FILE, {"study": study, "synthetic": "yes"})

    origin = read_origin(run)

    assert origin.study is None
    assert not origin.is_synthetic
    assert not read_origin(Run(tmp_path / "nothing")).is_shared


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path, content):
    run = make_run(tmp_path / "run", make_index(tmp_path))
    run.path(origins.FILE).write_text(content)

    assert not read_origin(run).is_shared
    assert read_origin(run).are_patients_known
