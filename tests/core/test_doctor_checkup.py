import shutil

from polyp_core.doctor.checkup import examine_run, gather_facts
from polyp_core.runs import Run


def test_the_facts_of_a_run_are_counted_from_its_own_index(finished_run):
    index = finished_run.read_index()
    facts = gather_facts(finished_run, finished_run.read_status())
    train = index.select("train")["label"]
    validation = index.select("validation")
    assert facts.train_counts == ((train == 0).sum(), (train == 1).sum())
    patients = validation.drop_duplicates("group")["label"]
    assert facts.unit == "patients"
    assert facts.validation_unit_counts == ((patients == 0).sum(), (patients == 1).sum())
    assert sum(facts.validation_counts) == len(validation)
    assert facts.brightest_level == 250  # as the tests' images are drawn
    assert facts.error == ""


def test_a_failed_run_tells_the_doctor_why(finished_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(finished_run.directory, copy.directory)
    copy.write_json(
        "status.json", {"state": "failed", "message": "The loss is not a number any more"}
    )
    found, _ = examine_run(copy)
    assert [item.name for item in found] == ["not_a_number"]
