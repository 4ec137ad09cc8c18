"""What a shared demo shows, and that what is off cannot be reached past the pages."""

import json
import shutil
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from polyp_core import queueing, workspace
from polyp_core.config import RunConfig
from polyp_core.evidence.goals import Goal
from polyp_core.runs import Run
from tests.conftest import make_config, write_classes
from tests.pages.conftest import PAGES, ROOT, hold, read_texts
from tests.pages.predicting import note_downloads

OFF = {  # what no page of a demo offers
    "Train", "Add to the queue", "Start the study", "Find a learning rate", "Stop", "Cancel",
    "Resume", "Resume all the same", "Finish now", "Rename or note", "Use its settings", "Delete",
    "Use these settings", "Set for the next run", "Browse", "Delete this copy", "Run the checks",
    "Check anew", "Start", "Start anew", "Delete for good", "Save", "Train on these images",
}  # fmt: skip
LINKS = (  # a page and what its address asks for; {data} is a folder of images
    "Data?folder=/etc", "Data?folder={data}", "Data?folder=../../..", r"Data?folder=\\host\share",
    "Data?folder=/etc&run=../../etc&model.image_size_px=1024&view=average", "Train?folder={data}",
    "Train?run=../../../etc", "Train?run=../own&folder=/etc&model.image_size_px=1024",
    "Train?model.network=transfer&model.backbone_weights=/etc/passwd", "Results?run=../own",
    "Results?run=own&kind=../..&threshold=nan", "Predict?folder={data}&run=/etc",
)  # fmt: skip


@pytest.fixture(autouse=True)
def demo(finished_run, monkeypatch) -> None:
    """A shared demo; the run was trained before it was one."""
    monkeypatch.setenv("POLYP_DEMO", "1")


@pytest.fixture
def owners_run(finished_run, workspace_dir) -> Run:
    """A run that the owner of the server has put there."""
    directory = workspace.get_runs_dir() / "own"
    shutil.copytree(finished_run.directory, directory)
    return Run(directory)


def list_files(folder) -> dict[str, bytes]:
    """All files but those that may come: of the cache, and locks, which hold nothing."""
    cache = workspace.get_cache_dir()
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_relative_to(cache) and path.suffix != ".lock"
    }


def list_buttons(app) -> set[str]:
    return {button.label for button in app.button if not button.disabled}


@pytest.mark.parametrize("name", list(PAGES))
def test_every_page_says_that_it_is_a_demo_and_offers_nothing_that_is_off(
    open_page, owners_run, workspace_dir, name
):
    before = list_files(workspace_dir)
    app = open_page(name, run="own")
    texts = read_texts(app)
    assert "A shared demo" in texts
    assert "nothing you do here is kept" in texts
    assert "Nothing leaves this computer" not in texts
    assert not app.error
    assert not list_buttons(app) & OFF
    assert list_files(workspace_dir) == before


@pytest.mark.parametrize("name", list(PAGES))
def test_without_the_variable_nothing_speaks_of_a_demo(open_page, monkeypatch, name):
    monkeypatch.setenv("POLYP_DEMO", "0")
    assert "shared demo" not in read_texts(open_page(name))


@pytest.mark.parametrize(
    ("name", "asked"),
    [("Home", "{data}"), ("Data", "{data}"), ("Train", "{data}"), ("Data", "../.."),
     ("Data", "{workspace}"), ("Data", r"\\host\x")],
)  # fmt: skip
def test_no_folder_is_opened_by_what_a_session_holds(
    open_page, data_dir, workspace_dir, monkeypatch, name, asked
):
    folder = asked.format(data=data_dir, workspace=workspace_dir)
    monkeypatch.chdir(data_dir)
    app = open_page(
        name, source="folder", folder=folder, browse=folder,
        **{"next source": ("folder", folder), "folder before split": ("folder", folder),
           "imported": "Copied."},
    )  # fmt: skip
    assert not app.error
    assert not app.text_input
    assert "A copy in the workspace" not in read_texts(app)
    if name == "Data":
        assert "34 images of 8 patients" in read_texts(app)  # of the demo set
        assert "folder" not in app.query_params


def test_an_upload_that_was_chosen_before_shows_the_demo_images(open_page):
    app = open_page("Data", source="upload")
    assert "34 images of 8 patients" in read_texts(app)
    assert not app.get("file_uploader")


@pytest.mark.parametrize("link", LINKS)
def test_no_link_reaches_what_is_off(open_page, owners_run, workspace_dir, tmp_path, link):
    data = write_classes(tmp_path / "secret-images")
    name, asked = link.format(data=data).split("?")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    app.run()
    before = list_files(workspace_dir)
    app.switch_page(PAGES[name])
    for pair in asked.split("&"):
        key, value = pair.split("=")
        app.query_params[key] = value
    app.run()
    assert not app.exception
    said = read_texts(app)
    assert "A shared demo" in said
    for secret in ("secret-images", "20 images of 10 patients", "passwd"):
        assert secret not in said
    assert not OFF & list_buttons(app)
    assert list_files(workspace_dir) == before
    assert "folder" not in app.session_state or not app.session_state["folder"]
    assert "setting model.image_size_px" not in app.session_state
    if "folder=" in link and name != "Predict":
        assert "folder is left out" in " ".join(error.value for error in app.error)


def list_cache() -> dict[str, int]:
    """The files of the cache, with their sizes in bytes."""
    cache = workspace.get_cache_dir()
    return {path.name: path.stat().st_size for path in cache.rglob("*") if path.is_file()}


def test_what_links_ask_for_does_not_make_the_cache_grow(open_page, owners_run):
    for name in PAGES:
        open_page(name, run="own")
    before = list_cache()
    assert before  # the measures of the demo images, and which are near-copies
    for number in range(4):
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
        app.run()
        app.switch_page(PAGES["Data"])
        asked = {
            "folder": f"/data/{number}", "data.group_pattern": f"({number}+)", "data.region": "box",
            "data.region_box": f"0,0,{50 + number},100", "data.seed": str(number),
            "data.validation_fraction": f"0.{number + 1}", "augmentation.rotation_deg": str(number),
            "run": f"run-{number}", "image": str(number + 1), "epoch": str(number + 1),
        }  # fmt: skip
        for key, value in asked.items():
            app.query_params[key] = value
        app.run()
        assert not app.exception
        assert app.session_state["setting data.region_box"] == (0, 0, 50 + number, 100)
    assert list_cache() == before


def name_places(run: Run) -> RunConfig:
    """Have a run's settings name a folder and a file of the server."""
    values = json.loads(run.path("config.json").read_text())
    config = make_config(workspace.get_workspace_dir() / "a-secret-folder")
    model = replace(config.model, backbone_weights="/srv/a-secret-file.h5")
    values["settings"] = replace(config, model=model).to_dict()
    run.write_json("config.json", values)
    return run.read_config()


@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_the_settings_of_a_run_are_shown_without_the_places_they_name(
    open_page, owners_run, monkeypatch, state
):
    config = name_places(owners_run)
    owners_run.write_json("status.json", {"state": state, "message": ""})
    offered = note_downloads(monkeypatch)
    app = open_page("Train", run="own")
    assert "secret" not in read_texts(app) + str(offered)
    given = RunConfig.from_dict(json.loads(str(offered["Download settings"])))
    assert given.data == replace(config.data, folder="")
    assert given.model == replace(config.model, backbone_weights="")
    assert given.training == config.training


def test_the_settings_of_a_run_name_their_places_on_one_s_own_computer(
    open_page, owners_run, monkeypatch
):
    config = name_places(owners_run)
    monkeypatch.setenv("POLYP_DEMO", "0")
    offered = note_downloads(monkeypatch)
    app = open_page("Train", run="own")
    assert RunConfig.from_dict(json.loads(str(offered["Download settings"]))) == config
    assert "a\\-secret\\-file" in read_texts(app)


@pytest.mark.parametrize("run", ["../../etc", "..", "a\0b"])
def test_a_run_is_looked_for_among_the_runs_alone(open_page, owners_run, run):
    app = open_page("Train", run=run)
    assert not app.error
    assert "Demo model" in app.header[0].value


def test_the_train_page_shows_how_a_training_looks_and_says_how_to_have_one(open_page):
    app = open_page("Train")
    assert "Demo model" in app.header[0].value
    assert len(app.get("plotly_chart")) >= 3
    texts = read_texts(app)
    assert "Training is off on this shared demo" in texts
    assert "On your own computer" in texts
    assert "log" not in [box.label for box in app.expander]


def test_the_owner_s_runs_are_looked_at_but_not_touched(open_page, owners_run, workspace_dir):
    before = list_files(workspace_dir)
    app = open_page(
        "Train", run="own",
        **{"runs box": True, "runs dialog": ("delete", ["own"], []), "runs chosen": ["own"],
           "all runs": True, "other versions": "own"},
    )  # fmt: skip
    assert app.header[0].value == "own"
    assert not list_buttons(app) & OFF
    assert not [button for button in app.button if button.key == "runs doom"]
    assert list_files(workspace_dir) == before


def test_a_run_at_work_is_watched_but_not_stopped(open_page, owners_run):
    owners_run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    with hold(owners_run):
        app = open_page("Train")
        assert not list_buttons(app) & OFF
        assert app.header[0].value == "own"
        assert len(app.get("progress")) == 2


def test_a_dead_ticket_stays_where_it_is(open_page, owners_run):
    queue_dir = workspace.get_queue_dir()
    queue_dir.mkdir(parents=True, exist_ok=True)
    (queue_dir / "dead.json").write_text("damaged")
    open_page("Train")
    assert (queue_dir / "dead.json").read_text() == "damaged"
    assert queueing.list_tickets(queue_dir) == []


def test_settings_that_were_handed_over_choose_no_images(open_page, data_dir):
    config = make_config(data_dir)
    app = open_page("Train", **{"settings to load": (config, "below")})
    assert not app.error
    assert isinstance(config, RunConfig)
    assert "34 images" in read_texts(open_page("Data", source="folder", folder=str(data_dir)))


def test_a_threshold_is_looked_at_but_not_kept(open_page, owners_run, workspace_dir):
    before = list_files(workspace_dir)
    app = open_page("Results")
    slider = next(slider for slider in app.slider if slider.key == "results threshold slider")
    slider.set_value(30.0).run()
    assert not app.exception
    use = next(button for button in app.button if button.key == "results use")
    assert use.disabled
    assert "off on this shared demo" in use.help
    assert list_files(workspace_dir) == before


def test_a_stale_button_that_keeps_a_threshold_is_refused_by_the_core(owners_run, workspace_dir):
    from polyp_core.decision import Decision, write_decision
    from polyp_core.errors import AccessError

    before = list_files(workspace_dir)
    with pytest.raises(AccessError):
        write_decision(owners_run, Decision(Goal("hand", 0.3), 0.3))
    assert list_files(workspace_dir) == before


def test_marks_and_notes_are_read_only(open_page, owners_run):
    app = open_page("Results")
    assert not [box for box in app.checkbox if box.label == "Label wrong"]
    assert not [box for box in app.text_area if box.label == "Note"]


def test_tests_of_a_model_are_listed_without_their_folders_and_not_started(
    open_page, owners_run, data_dir
):
    files = Run(owners_run.directory / "evaluations" / "elsewhere")
    shutil.copytree(owners_run.directory, files.directory)
    values = {
        "task": "evaluate", "settings": make_config(data_dir).to_dict(), "folder": str(data_dir),
        "class_names": list(owners_run.read_class_names()),
    }  # fmt: skip
    files.write_json("config.json", values)
    app = open_page(
        "Results",
        **{"results box Other data": True, "results box Shortcuts and robustness": True,
           "results external folder": "/etc"},
    )  # fmt: skip
    texts = read_texts(app)
    assert "elsewhere" in texts
    assert str(data_dir.parent) not in texts
    assert "Judging a model on another folder is off on this shared demo" in texts
    assert "Starting the checks is off on this shared demo" in texts
    assert not list_buttons(app) & OFF
    assert not [field for field in app.text_input if field.key == "results external folder"]


def test_pictures_of_the_owner_s_images_are_shown_where_the_owner_allows_them(
    open_page, owners_run, monkeypatch
):
    app = open_page("Results", **{"results group": "right"})
    assert "outside of the folders that may be shown here" in read_texts(app)
    assert not app.get("image")
    monkeypatch.setenv("POLYP_DATA_ROOTS", str(owners_run.read_index().folder))
    app = open_page("Results", **{"results group": "right"})
    assert "outside of the folders" not in read_texts(app)
    assert app.get("image")


def test_a_clean_split_is_shown_but_not_written(open_page, demo_data, workspace_dir):
    name = next(demo_data.rglob("*.png"))
    other = next(path for path in demo_data.rglob("*.png") if path.parent.name != name.parent.name)
    shutil.copy(name, other)  # the same picture in both classes, so a split is proposed
    app = open_page("Data")
    button = next(button for button in app.button if button.label == "Use the clean split")
    assert button.disabled
    assert not workspace.get_splits_dir().exists()


def test_the_sliders_of_the_augmentation_stay_usable(open_page):
    app = open_page("Data")
    slider = next(slider for slider in app.slider if slider.label == "Rotation (°)")
    slider.set_value(40.0).run()
    assert not app.exception
    assert app.session_state["setting augmentation.rotation_deg"] == 40.0


def test_an_owner_s_folder_beside_the_demo_is_no_way_out(open_page, tmp_path, monkeypatch):
    folder = write_classes(tmp_path / "allowed")
    monkeypatch.setenv("POLYP_DATA_ROOTS", str(folder))
    app = open_page("Data", source="folder", folder=str(folder))
    assert "34 images of 8 patients" in read_texts(app)
