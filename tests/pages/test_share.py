"""What leaves the results page: report, model, bundle, checklists; with nothing trained."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from polyp_core import exports, workspace
from polyp_core.checklists import fill_sheet, write_answer
from polyp_core.errors import ModelError
from polyp_core.exports import Bundle, Export
from polyp_core.runs import Run
from tests.core.studies import make_index, make_study
from tests.pages.conftest import ROOT, click, read_texts
from ui.results_source import STUDY, Judged
from ui.share_box import prepare_model, say_difference, say_proof

SECTION = "share section claim Introduction"


@pytest.fixture
def run() -> Run:
    """The model that ships, among the runs of the workspace."""
    directory = workspace.get_runs_dir() / "my_own_run"
    shutil.copytree(workspace.DEMO_RUN.directory, directory)
    return Run(directory)


def show_box() -> None:
    """The box alone, without the page around it."""
    from polyp_core import workspace
    from polyp_core.runs import Run
    from ui.results_source import read_judged
    from ui.share_box import show_share

    run = Run(workspace.get_runs_dir() / "my_own_run")
    show_share(read_judged(run, "validation"))


def open_box(**state) -> AppTest:
    app = AppTest.from_function(show_box, default_timeout=60)
    for key, value in state.items():
        app.session_state[key] = value
    return run_app(app)


def open_sheet() -> AppTest:
    """The box, with the section of items 3 and 4 opened."""
    app = open_box()
    app.session_state[SECTION] = True
    return run_app(app)


def run_app(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception
    return app


def read_downloads(app: AppTest) -> list[str]:
    return [button.proto.label.replace("\\", "") for button in app.get("download_button")]


def make_export(path, format_name="litert", difference=3.2e-7) -> Export:
    return Export(
        path=path, format=format_name, sha256="0" * 64, largest_difference=difference,
        num_compared=50, compared_on="validation images", runtime="LiteRT 2.1.0",
    )  # fmt: skip


def pretend_export(monkeypatch, *, error: str = "") -> list[str]:
    """Let exports be written at once; what was asked for."""
    asked = []

    def export_run(run, format_name, target, on_progress=None):
        asked.append(format_name)
        on_progress("Comparing 50 images")
        if error:
            raise ModelError(error)
        target.write_bytes(b"model")
        return make_export(target, format_name)

    def write_bundle(run, target, on_progress=None):
        asked.append("bundle")
        target.write_bytes(b"zip")
        return Bundle(path=target, exports=(make_export(target),), num_bytes=3)

    monkeypatch.setattr(exports, "export_run", export_run)
    monkeypatch.setattr(exports, "write_bundle", write_bundle)
    return asked


def test_a_difference_is_said_with_one_digit(tmp_path):
    assert [say_difference(value) for value in (0.0, 3.2e-7, 9.6e-5, 1.2e-10)] == [
        "0", "3e-7", "1e-4", "1e-10",
    ]  # fmt: skip
    assert say_proof(make_export(tmp_path)) == (
        "Opened again with LiteRT 2.1.0: 50 validation images, largest difference 3e-7."
    )


def test_a_bundle_that_was_made_before_an_answer_is_not_offered_again(run, monkeypatch):
    pretend_export(monkeypatch)
    made = prepare_model(run, "bundle", "own", print)
    write_answer(run, "claim", "3", "New.")
    assert prepare_model(run, "bundle", "own", print).key != made.key
    made = prepare_model(run, "litert", "own", print)
    write_answer(run, "claim", "3", "Newer.")
    assert prepare_model(run, "litert", "own", print).key == made.key  # it holds no answers


def test_the_page_has_the_box_and_opens_it_when_asked(run):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["run"] = run.name
    app.switch_page("pages/results.py")
    run_app(app)
    assert "Report" not in read_downloads(app)
    app.session_state["results box Share"] = True
    run_app(app)
    assert {"Report", "Model card", "Download"} <= set(read_downloads(app))
    assert "28 of 44 open" in read_texts(app)


def test_the_bundle_is_made_on_a_click_and_says_how_it_was_proved(run, monkeypatch):
    asked = pretend_export(monkeypatch)
    app = open_box()
    assert asked == []
    click(app, "Everything (bundle)")
    assert asked == ["bundle"]
    assert "Download my_own_run-bundle.zip (0.0 MiB)" in read_downloads(app)
    assert "largest difference 3e-7" in read_texts(app).replace("\\", "")
    run_app(app)
    assert asked == ["bundle"]  # kept, as long as nothing changes
    run.write_json("decision.json", {})
    run_app(app)
    assert "Download my_own_run-bundle.zip (0.0 MiB)" not in read_downloads(app)


def test_a_format_is_chosen_and_one_that_cannot_be_made_says_why(run, monkeypatch):
    asked = pretend_export(monkeypatch)
    app = open_box()
    click(app, "Prepare")
    assert asked == ["litert"]
    assert "Download my_own_run.tflite (0.0 MiB)" in read_downloads(app)
    app.selectbox(key="share format").select("keras").run()
    assert "has no model\\.keras" in read_texts(app)
    assert next(button for button in app.button if button.label == "Prepare").disabled


def test_a_file_that_fails_its_proof_is_not_offered(run, monkeypatch):
    pretend_export(monkeypatch, error="It differs by 0.2. Expected at most 1e-4. Train anew.")
    app = open_box()
    click(app, "Prepare")
    assert "It differs by 0" in app.error[0].value
    assert not any("tflite" in label for label in read_downloads(app))


def test_a_zip_is_named_after_its_format(run, monkeypatch):
    pretend_export(monkeypatch)
    said = []
    prepared = prepare_model(run, "saved-model", "mine", said.append)
    assert (prepared.file_name, prepared.content) == ("mine-saved-model.zip", b"model")
    assert said == ["Comparing 50 images"]
    assert prepare_model(run, "weights", "mine", said.append).file_name == "mine.weights.h5"


def test_an_answer_is_kept_when_it_is_written_and_counted(run):
    app = open_sheet()
    assert "28 of 44 open" in read_texts(app)
    field = next(area for area in app.text_area if area.label == "Answer to item 3")
    field.set_value("For teaching.").run()
    assert {item.number: item.answer for item in fill_sheet(run, "claim")}["3"] == "For teaching."
    texts = read_texts(app)
    assert "27 of 44 open" in texts
    assert ":material/check: Saved." in texts
    assert any(box.label == "Introduction · **1 open**" for box in app.expander)
    field = next(area for area in app.text_area if area.label == "Answer to item 3")
    field.set_value("").run()
    assert "28 of 44 open" in read_texts(app)
    assert ":material/check: Taken back." in read_texts(app)


def test_an_answer_that_cannot_be_kept_stays_in_the_field(run):
    app = open_sheet()
    run.path("checklists.json").mkdir()
    next(area for area in app.text_area if area.label == "Answer to item 3").set_value("Mine").run()
    assert not app.exception
    assert "cannot be written" in app.error[0].value
    assert next(area for area in app.text_area if area.label == "Answer to item 3").value == "Mine"


def test_the_filter_leaves_what_is_open_and_what_was_just_answered(run):
    app = open_sheet()
    app.toggle(key="share open only claim").set_value(True).run()
    sections = [box.label.split(" ·")[0] for box in app.expander]
    assert "Introduction" in sections
    assert "Methods: model" not in sections  # all answered by the run
    for number in ("3", "4"):
        label = f"Answer to item {number}"
        next(area for area in app.text_area if area.label == label).set_value("Yes.").run()
    assert any("Introduction · :material/check: complete" in box.label for box in app.expander)
    app = open_box(**{"share open only claim": True})
    assert not any("Introduction" in box.label for box in app.expander)


def test_the_runs_own_answer_can_be_said_in_other_words(run):
    app = open_box(**{"share section claim Methods: model": True})
    assert app.text_area == []
    assert "163,961 numbers" in read_texts(app)
    app.button(key="share own claim 22").click().run()
    app.text_area[0].set_value("As in the thesis.").run()
    assert {item.number: item.origin for item in fill_sheet(run, "claim")}["22"] == "person"
    assert "163,961 numbers" in read_texts(app)  # beside it


def test_what_people_and_files_say_is_shown_literally(run, monkeypatch):
    monkeypatch.delenv("POLYP_DEMO", raising=False)
    write_answer(run, "claim", "3", "# <b>*bold*</b>\u202e")
    monkeypatch.setenv("POLYP_DEMO", "1")
    texts = read_texts(open_sheet())
    assert "\\# \\<b\\>\\*bold\\*" in texts
    assert "\u202e" not in texts


OFFERS = ("share format", "share bundle", "share prepare")


def test_on_a_demo_sheets_are_read_and_what_is_off_says_so(run, monkeypatch):
    monkeypatch.setenv("POLYP_DEMO", "1")
    app = open_sheet()
    texts = read_texts(app)
    assert app.text_area == []
    assert "Answering is off on this shared demo" in texts
    assert "Taking the model away is off on this shared demo" in texts
    assert not [one.key for one in (*app.selectbox, *app.button) if one.key in OFFERS]
    assert "What is the medical background" in texts
    assert "Report" in read_downloads(app)


def test_a_study_without_a_model_yet_has_its_comparison_alone(monkeypatch, tmp_path):
    study = make_study(monkeypatch, workspace.get_studies_dir(), make_index(tmp_path))

    def show() -> None:
        import streamlit as st

        from ui.share_box import show_share

        show_share(st.session_state["judged"])

    app = AppTest.from_function(show, default_timeout=60)
    app.session_state["judged"] = Judged(
        run=study.ensemble, study=study, kind=STUDY, index=study.read_index(),
        table=study.read_index().images, class_names=("non-calcified", "calcified"),
        decision=None, written_at_ns=0,
    )  # fmt: skip
    run_app(app)
    assert read_downloads(app) == ["Comparison"]
    assert "no model of its own yet" in read_texts(app)
