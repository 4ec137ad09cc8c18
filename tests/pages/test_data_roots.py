"""POLYP_DATA_ROOTS: what can be typed, linked, browsed or handed over stays below the roots."""

import os
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from polyp_core import workspace
from polyp_core.runs import Run
from tests.conftest import make_config, write_classes
from tests.pages.conftest import PAGES, ROOT, click, read_texts


@pytest.fixture
def root(finished_run, tmp_path, monkeypatch) -> Path:
    """A folder that may be read, beside one that may not."""
    root = write_classes(tmp_path / "open" / "polyps").parent
    write_classes(tmp_path / "secret")
    (root / "way-out").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("POLYP_DATA_ROOTS", str(root))
    return root


def read_errors(app: AppTest) -> str:
    return "\n".join(error.value for error in app.error)


def list_steps(app: AppTest) -> list[str]:
    return [button.label for button in app.button if str(button.key).startswith("browse ")]


def open_link(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    app.run()
    app.switch_page(PAGES[name])
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, app.exception
    return app


def test_a_folder_below_a_root_is_read_and_one_beside_it_is_not(open_page, root, tmp_path):
    assert "20 images of 10 patients" in read_texts(
        open_page("Data", source="folder", folder=str(root / "polyps"))
    )
    for text in (str(tmp_path / "secret"), str(root / "way-out"), f"{root}/../secret"):
        app = open_page("Data", source="folder", folder=text)
        assert "outside of the folders that may be read here" in read_errors(app)
        assert "images of" not in read_texts(app)


def test_home_and_train_refuse_the_same_folder(open_page, root, tmp_path):
    for name in ("Home", "Train"):
        app = open_page(name, source="folder", folder=str(tmp_path / "secret"))
        assert "outside of the folders" in read_errors(app)
        assert not [button for button in app.button if button.key == "train"]


def test_a_link_is_refused_like_a_typed_folder(root, tmp_path, demo_data):
    app = open_link("Data", folder=str(tmp_path / "secret"))
    assert "outside of the folders" in read_errors(app)


def test_a_link_to_another_computer_is_never_followed(demo_data, monkeypatch):
    looked_for = []
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: looked_for.append(str(path)) or is_dir(path))
    app = open_link(
        "Data", folder=r"\\host\share", **{"model.backbone_weights": "//host/share/w.h5"}
    )
    assert read_errors(app).count("another computer") == 2
    assert not [path for path in looked_for if "host" in path]
    assert "folder" not in app.session_state
    assert "setting model.backbone_weights" not in app.session_state


def test_browsing_starts_at_the_root_and_never_leaves_it(open_page, root, tmp_path):
    app = open_page("Data", source="folder")
    click(app, "Browse")
    assert list_steps(app) == ["polyps"]  # no way up, and not the link that leads out


@pytest.mark.parametrize("here", ["{secret}", "/", "{root}/..", "{root}/way-out", r"\\host\x"])
def test_browsing_goes_back_inside_whatever_the_session_holds(open_page, root, tmp_path, here):
    text = here.format(secret=tmp_path / "secret", root=root)
    app = open_page("Data", source="folder", browse=text)
    click(app, "Browse")
    assert not app.exception
    assert app.session_state["browse"] == ""
    assert [label.replace("\\", "") for label in list_steps(app)] == [str(root)]
    use = next(button for button in app.button if button.label == "Use this folder")
    assert use.disabled


def test_browsing_lists_several_roots_and_goes_up_to_the_list(
    open_page, root, tmp_path, monkeypatch
):
    roots = [str(root), str(tmp_path / "secret")]
    monkeypatch.setenv("POLYP_DATA_ROOTS", os.pathsep.join(roots))
    app = open_page("Data", source="folder")
    click(app, "Browse")
    assert [label.replace("\\", "") for label in list_steps(app)] == roots
    app = open_page("Data", source="folder", browse=str(root))
    click(app, "Browse")
    assert list_steps(app)[0] == "All folders that may be read"
    app = open_page("Data", source="folder", browse=str(root / "polyps"))
    click(app, "Browse")
    assert list_steps(app)[0] == "Up to open"


def test_without_roots_browsing_starts_at_home_and_goes_up(open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    app = open_page("Data", source="folder")
    click(app, "Browse")
    assert app.session_state["browse"] == str(tmp_path)
    assert list_steps(app)[0].startswith("Up to")


def test_judging_another_folder_stays_below_the_roots(open_page, own_run, root, tmp_path):
    app = open_page(
        "Results",
        **{"results box Other data": True, "results external folder": str(tmp_path / "secret")},
    )  # fmt: skip
    assert "outside of the folders" in read_errors(app)
    start = next(button for button in app.button if button.key == "results external start")
    assert start.disabled
    known = [box for box in app.selectbox if box.label == "Known folders"]
    assert all(str(own_run.read_config().data.folder) not in box.options for box in known)


def test_pictures_of_a_run_from_elsewhere_are_calmly_left_out(open_page, own_run, root):
    app = open_page("Results", **{"results group": "right"})
    assert not app.error
    assert "outside of the folders that may be shown here" in read_texts(app)
    assert not app.get("image")


def test_settings_of_a_run_from_elsewhere_say_that_its_images_are_closed(open_page, root, tmp_path):
    config = make_config(tmp_path / "secret")
    app = open_page("Train", **{"settings to load": (config, "below")})
    assert "outside of the folders" in read_errors(app)


def test_weights_are_read_below_the_roots_alone(open_page, root, tmp_path):
    weights = tmp_path / "secret" / "w.weights.h5"
    weights.touch()
    settings = {
        "setting model.network": "transfer", "setting model.backbone_weights": str(weights),
        "setting model.image_size_px": 64, "setting training.ema": 0.0,
    }  # fmt: skip
    app = open_page("Train", source="folder", folder=str(root / "polyps"), **settings)
    assert "outside of the folders" in read_errors(app)


def test_what_was_uploaded_may_be_read_and_deleted(open_page, root):
    folder = write_classes(workspace.get_imports_dir() / "polyps-1234")
    app = open_page("Data", source="folder", folder=str(folder))
    assert "20 images of 10 patients" in read_texts(app)
    click(app, "Delete this copy")
    assert not folder.exists()


def test_a_run_is_still_found_by_its_name(open_page, own_run, root):
    shutil.copytree(own_run.directory, workspace.get_runs_dir() / "other")
    app = open_page("Train", run="other")
    assert app.header[0].value == "other"
    assert Run(workspace.get_runs_dir() / "other").path("config.json").is_file()
