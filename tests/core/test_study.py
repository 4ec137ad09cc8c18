import json
import os

import numpy as np
import pandas as pd
import pytest

from polyp_core.errors import RunError
from polyp_core.metrics import estimate_auc, estimate_proportion
from polyp_core.study import (
    describe_spread,
    list_studies,
    open_study,
    pool_predictions,
    select_fold,
    select_share,
    summarise,
)  # fmt: skip
from polyp_core.study_worker import prepare_member
from tests.core.studies import (
    end_member,
    finish_curve,
    finish_member,
    make_index,
    make_study,
)


@pytest.fixture
def index(tmp_path):
    """Twelve images of six patients."""
    return make_index(tmp_path)


@pytest.fixture
def study(index, tmp_path, monkeypatch):
    """Two folds of two seeds, none trained yet; training.keep is "best"."""
    return make_study(monkeypatch, tmp_path / "studies", index, num_seeds=2)


def give(index, *by_patient: float) -> dict[str, float]:
    """Each patient's images get the patient's probability."""
    paths = index.images["path"]
    return {path: by_patient[i // 2] for i, path in enumerate(paths)}


def test_every_image_is_validated_once_a_seed_and_no_patient_is_on_both_sides(study, index):
    whole = study.read_index()
    seen: list[int] = []
    for fold in (1, 2):
        images = select_fold(whole, fold, 2).images
        assert "fold" not in images
        assert not set(images["group"][images["split"] == "train"]) & set(
            images["group"][images["split"] == "validation"]
        )
        seen += images.index[images["split"] == "validation"].tolist()
    assert sorted(seen) == list(range(len(index.images)))


def test_test_images_are_test_images_of_every_member(tmp_path, monkeypatch):
    index = make_index(tmp_path, 6, ["test"] * 2 + ["train"] * 8 + ["validation"] * 2)
    study = make_study(monkeypatch, tmp_path / "studies", index)
    for fold in (1, 2):
        split = select_fold(study.read_index(), fold, 2).images["split"]
        assert split.tolist()[:2] == ["test", "test"]
        assert set(split[2:]) == {"train", "validation"}


def test_one_fold_keeps_the_split_of_the_data(tmp_path, monkeypatch, index):
    study = make_study(monkeypatch, tmp_path / "studies", index, num_folds=1, num_seeds=2)
    assert [(m.fold, m.seed) for m in study.members] == [(1, 0), (1, 1)]
    kept = select_fold(study.read_index(), 1, 1).images["split"]
    assert kept.tolist() == index.images["split"].tolist()


def test_the_index_is_read_as_it_was_written(study, index):
    read = study.read_index()
    pd.testing.assert_frame_equal(read.images.drop(columns="fold"), index.images)
    assert (read.folder, read.class_names, read.manifest) == (
        index.folder, index.class_names, None,
    )  # fmt: skip


def test_the_mean_over_seeds_is_pooled_over_folds_by_hand(study, index):
    # Patients 1, 3, 5 are positive. The seeds' means: 0.3 0.7 0.3 0.4 0.6 0.9.
    for member in study.members:
        first = [0.2, 0.6, 0.3, 0.5, 0.5, 0.9]
        second = [0.4, 0.8, 0.3, 0.3, 0.7, 0.9]
        finish_member(study, member, give(index, *(second if member.seed else first)))
    metrics, predictions = summarise(study)
    by_patient = predictions.groupby("group")["probability"].first()
    assert by_patient.tolist() == pytest.approx([0.3, 0.7, 0.3, 0.4, 0.6, 0.9])
    assert set(predictions["num_members"]) == {2}
    # Right: p0, p1, p2, p5 of six; of the positive ones p1 and p5 of three.
    assert metrics["patient"]["accuracy"] == vars(estimate_proportion(4, 6))
    # Both images of a patient are alike, so they are worth the six patients.
    worth = vars(estimate_proportion(8, 12, worth=6.0))
    assert metrics["image"]["accuracy"] == pytest.approx(worth)
    assert metrics["patient"]["sensitivity"] == vars(estimate_proportion(2, 3))
    assert metrics["patient"]["specificity"] == vars(estimate_proportion(2, 3))
    assert metrics["patient"]["ppv"] == vars(estimate_proportion(2, 3))
    assert metrics["patient"]["npv"] == vars(estimate_proportion(2, 3))
    # Of nine pairs one is in the wrong order: 0.4 below 0.6.
    assert metrics["patient"]["auc"]["value"] == pytest.approx(8 / 9)
    labels, means = np.array([0, 1] * 3), np.array([0.3, 0.7, 0.3, 0.4, 0.6, 0.9])
    assert metrics["patient"]["auc"]["low"] == pytest.approx(estimate_auc(labels, means).low)
    assert metrics["patient"]["majority_accuracy"]["value"] == 0.5
    assert (metrics["num_members"], metrics["num_finished"], metrics["num_images"]) == (4, 4, 12)
    assert json.loads(json.dumps(metrics)) == metrics
    study.files.write_json("metrics.json", metrics | {"image": metrics["patient"]})
    assert study.read_metrics()["image"] == metrics["patient"]
    study.files.write_table("predictions.csv", predictions)
    assert study.read_metrics() == metrics  # whatever an older version counted


def test_spread_by_hand():
    def level(value):
        return {
            name: {"value": value if name == "accuracy" else None}
            for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv", "auc")
        }

    spread = describe_spread([level(0.5), level(0.7), level(0.9), level(None)])
    assert spread["accuracy"] == {
        "mean": pytest.approx(0.7), "sd": pytest.approx(0.2), "k": 3,
    }  # fmt: skip
    assert spread["auc"] == {"mean": None, "sd": None, "k": 0}
    assert describe_spread([level(0.5)])["accuracy"] == {"mean": 0.5, "sd": None, "k": 1}


def test_the_members_numbers_stand_beside_the_pooled_ones(study, index):
    for member in study.members[:2]:
        # Fold by fold, one seed alone: what is pooled is the same six patients.
        finish_member(study, member, give(index, 0.3, 0.7, 0.3, 0.4, 0.6, 0.9))
    metrics, _ = summarise(study)
    each = study.read_members().iloc[:2]
    assert each["accuracy_n"].sum() == 6
    weighted = (each["accuracy"] * each["accuracy_n"]).sum() / 6
    assert metrics["patient"]["accuracy"]["value"] == pytest.approx(weighted) == 4 / 6
    assert metrics["members"]["patient"]["accuracy"] == {
        "mean": pytest.approx(each["accuracy"].mean()),
        "sd": pytest.approx(each["accuracy"].std()),
        "k": 2,
    }


def test_a_summary_of_some_members_says_how_many(study, index):
    assert summarise(study) is None
    finish_member(study, study.members[0], give(index, 0.3, 0.7, 0.3, 0.4, 0.6, 0.9))
    metrics, predictions = summarise(study)
    assert metrics["num_finished"] == 1
    assert metrics["image"]["accuracy"]["n"] == len(predictions) < metrics["num_images"]
    assert metrics["members"]["image"]["accuracy"]["sd"] is None


def test_damaged_predictions_of_a_member_are_said_in_a_sentence(study, index):
    finish_member(study, study.members[0], give(index, 0.3, 0.7, 0.3, 0.4, 0.6, 0.9))
    study.members[0].run.path("predictions.csv").write_text("path,probability\n")
    with pytest.raises(RunError, match="a member of the study, are missing or damaged .*Expected"):
        summarise(study)


def test_test_images_are_judged_by_the_mean_of_all(tmp_path, monkeypatch):
    index = make_index(tmp_path, 8, ["test"] * 4 + ["train"] * 12)
    study = make_study(monkeypatch, tmp_path / "studies", index)
    finish_member(study, study.members[0], give(index, 0.2, 0.4, *[0.5] * 6))
    finish_member(study, study.members[1], give(index, 0.4, 0.8, *[0.5] * 6))
    metrics, predictions = summarise(study)
    tested = predictions[predictions["split"] == "test"]
    assert tested["probability"].tolist() == pytest.approx([0.3, 0.3, 0.6, 0.6])
    assert set(tested["num_members"]) == {2}
    assert metrics["test"]["patient"]["accuracy"] == vars(estimate_proportion(2, 2))
    assert metrics["image"]["accuracy"]["n"] == 12


def test_an_epoch_chosen_on_the_judged_images_is_said(tmp_path, monkeypatch, index):
    def read_caution(name, *settings):
        study = make_study(monkeypatch, tmp_path / "studies", index, *settings, name=name)
        finish_member(study, study.members[0], give(index, *[0.5] * 6))
        return summarise(study)[0]["caution"]

    last = "training.keep=last"
    assert read_caution("a", last, "training.early_stopping_patience=0") == (
        "Each member's temperature was fitted on the images that judge it, which makes its "
        "probabilities a little better there than elsewhere."
    )
    expected = (
        "Each member's epoch was chosen on the very images that judge it, so these numbers lean to "
        "the good side. Where that matters keep the last epoch, without early stopping, or judge "
        "on test images."
    )
    assert read_caution("b", "training.keep=best") == expected
    assert read_caution("c", last, "training.early_stopping_patience=3") == expected
    plateau = ("training.schedule=plateau", "training.early_stopping_patience=0")
    assert "learning rate was lowered by" in read_caution("d", last, *plateau)
    of_training = ("training.keep=best", "training.monitor=loss")
    assert "temperature was fitted" in read_caution("e", *plateau, *of_training)


@pytest.mark.parametrize("content", ["", "{", '{"image": 5}', '{"image": {}, "threshold": 0.5}'])
def test_damaged_numbers_of_a_finished_member_are_named(tmp_path, monkeypatch, index, content):
    study = make_study(monkeypatch, tmp_path / "studies", index)
    finish_member(study, study.members[0], give(index, *[0.5] * 6))
    study.members[0].run.path("metrics.json").write_text(content)

    with pytest.raises(RunError, match="numbers of 'fold-1-seed-0', .* missing or damaged"):
        summarise(study)
    assert study.read_members()["accuracy"].isna().all()


def test_members_are_a_table_before_and_after_they_are_trained(study, index):
    first, second, third, _ = study.members
    finish_member(study, first, give(index, 0.3, 0.7, 0.3, 0.4, 0.6, 0.9))
    finish_member(study, second, give(index, *[0.5] * 6))
    finish_member(study, third, give(index, *[0.5] * 6))
    end_member(third, "failed", "No.")
    table = study.read_members()
    assert table["name"].tolist() == [
        "fold-1-seed-0", "fold-2-seed-0", "fold-1-seed-1", "fold-2-seed-1",
    ]  # fmt: skip
    assert table["state"].tolist() == ["finished", "finished", "failed", "waiting"]
    assert table["level"][0] == "patients"
    row, metrics = table.iloc[0], first.run.read_metrics()["patient"]
    for name in ("accuracy", "sensitivity", "specificity", "auc"):
        for key, column in (("value", name), ("low", f"{name}_low"), ("n", f"{name}_n")):
            assert row[column] == metrics[name][key]
    assert table.iloc[3].filter(like="accuracy").isna().all()


def test_a_member_waits_until_its_worker_is_asked_to_start(study):
    member = study.members[0]
    assert member.read_state() == "waiting"
    prepare_member(study, member)
    os.utime(member.run.path("worker.log"), (0, 0))  # long ago, as in the queue of a cluster
    assert member.read_state() == "waiting"
    member.run.path("worker.log").write_text("--- asked to start")
    assert member.read_state() == "queued"
    end_member(member, "failed")
    assert member.read_state() == "failed"


def test_the_same_image_is_pooled_once_and_others_are_not_mixed():
    def table(probability, frame):
        return pd.DataFrame(
            {"path": ["a.dcm"], "frame": [frame], "split": ["validation"], "group": [""],
             "label": [1], "probability": [probability]}
        )  # fmt: skip

    pooled = pool_predictions([table(0.2, 0), table(0.6, 0), table(0.9, 1)])
    assert pooled["probability"].tolist() == pytest.approx([0.4, 0.9])
    assert pooled["num_members"].tolist() == [2, 1]


def test_studies_are_listed_the_newest_first_and_opened(tmp_path, monkeypatch, index):
    folder = tmp_path / "studies"
    assert list_studies(folder) == []
    for age, name in ((20, "old"), (10, "new")):
        study = make_study(monkeypatch, folder, index, name=name)
        path = study.directory / "study.json"
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    (folder / "none").mkdir()
    assert [study.name for study in list_studies(folder)] == ["new", "old"]
    assert open_study(folder / "old").read_config() == study.read_config()


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_study_is_told_in_a_sentence(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(RunError, match=r"' is not a study: its study.json cannot be read \("):
        open_study(tmp_path)


def test_a_folder_without_a_study_is_told_in_a_sentence(tmp_path):
    with pytest.raises(RunError) as raised:
        open_study(tmp_path)
    assert str(raised.value) == (
        f"'{tmp_path}' is not a study: its study.json cannot be read ([Errno 2] No such file or "
        f"directory: '{tmp_path / 'study.json'}'). Expected a folder that a study has written. "
        "Choose another, or start anew."
    )


@pytest.fixture
def large(tmp_path):
    """Sixty images of thirty patients."""
    return make_index(tmp_path, 30)


def test_members_of_a_share_have_names_of_their_own_and_come_last(large, tmp_path, monkeypatch):
    study = make_study(
        monkeypatch, tmp_path / "s", large, num_seeds=2, num_folds=1, shares=(0.25, 1.0, 0.5)
    )
    assert [(member.run.name, member.share) for member in study.members] == [
        ("fold-1-seed-0", 1.0), ("fold-1-seed-1", 1.0),
        ("fold-1-seed-0-share-50", 0.5), ("fold-1-seed-1-share-50", 0.5),
        ("fold-1-seed-0-share-25", 0.25), ("fold-1-seed-1-share-25", 0.25),
    ]  # fmt: skip
    assert study.whole_members == study.members[:2]
    assert study.read_members()["share"].tolist() == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("num_folds", [1, 3])
def test_a_share_trains_on_fewer_whole_patients_and_validates_on_all(
    large, tmp_path, monkeypatch, num_folds
):
    study = make_study(
        monkeypatch, tmp_path / "s", large, num_folds=num_folds, shares=(0.25, 0.5, 0.75, 1.0)
    )
    for fold in range(1, num_folds + 1):
        members = [member for member in study.members if member.fold == fold]
        for member in members:
            prepare_member(study, member)
        whole, *smaller = [member.run.read_index() for member in members]
        trained = whole.select("train")
        larger = set(trained["path"])
        for member, index in zip(members[1:], smaller, strict=True):
            paths = set(index.select("train")["path"])
            assert paths < larger
            larger = paths
            rows = index.select("train")
            # Both images of every patient, and the classes as even as before.
            assert (rows.groupby("group").size() == 2).all()
            counts, before = rows["label"].value_counts(), trained["label"].value_counts()
            assert (abs(counts - member.share * before) <= 1).all()
            assert list(index.images.index) == list(range(len(index.images)))
            pd.testing.assert_frame_equal(
                index.select("validation").reset_index(drop=True),
                whole.select("validation").reset_index(drop=True),
            )


def test_a_share_is_drawn_by_the_seeds_of_the_data_and_of_the_member(large):
    draws = {
        seeds: tuple(select_share(large, 0.5, *seeds).select("train")["path"])
        for seeds in ((0, 0), (0, 1), (1, 0))
    }
    assert len(set(draws.values())) == 3
    assert tuple(select_share(large, 0.5, 0, 1).select("train")["path"]) == draws[0, 1]


def test_smaller_shares_change_nothing_of_the_numbers(large, tmp_path, monkeypatch):
    def summarise_study(name, shares, num_wrong):
        study = make_study(monkeypatch, tmp_path / "s", large, name=name, shares=shares)
        finish_curve(study, num_wrong)
        return summarise(study)

    metrics, predictions = summarise_study("plain", (1.0,), {1.0: 4})
    same, again = summarise_study("curve", (0.5, 1.0), {1.0: 4, 0.5: 12})
    assert same == metrics
    assert metrics["num_members"] == metrics["num_finished"] == 2
    pd.testing.assert_frame_equal(again, predictions)
    # A share alone has no numbers to give.
    study = make_study(monkeypatch, tmp_path / "s", large, name="none", shares=(0.5, 1.0))
    finish_curve(study, {0.5: 3})
    assert summarise(study) is None


def test_a_study_of_before_shares_has_whole_members_alone(study):
    plan = json.loads((study.directory / "study.json").read_text())
    del plan["shares"]
    study.files.write_json("study.json", plan)
    assert study.read_plan()["shares"] == [1.0]
    assert [member.run.name for member in study.whole_members] == [
        "fold-1-seed-0", "fold-2-seed-0", "fold-1-seed-1", "fold-2-seed-1",
    ]  # fmt: skip
