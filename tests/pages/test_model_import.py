"""A zip dropped on the page: what is wrong with it is said, what is right comes in."""

import pytest
from streamlit.testing.v1 import AppTest

import ui.model_import
from polyp_core.runs import Run
from polyp_core.workspace import get_runs_dir
from tests.core.attack_files import ATTACKS, make_run_files, pack

ATTACK = next(attack for attack in ATTACKS if attack.name == "Lambda layer")


def show():
    from ui.model_import import show_import

    show_import()


@pytest.fixture
def app(workspace_dir):
    app = AppTest.from_function(show, default_timeout=30).run()
    assert not app.exception
    return app


def drop(app, name, content):
    app.file_uploader[0].upload(name, content)
    app.run()
    assert not app.exception, app.exception
    return app


def bring(app):
    app.button[0].click().run()
    assert not app.exception, app.exception
    return app


def test_a_name_is_offered_that_can_be_changed(app, tmp_path):
    path = pack(make_run_files(), tmp_path / "run.zip")
    drop(app, "my polyps.zip", path.read_bytes())
    assert app.text_input[0].value == "my-polyps"
    app.text_input[0].set_value("../up").run()
    bring(app)
    assert "cannot be a folder name" in app.error[0].value
    assert not get_runs_dir().exists()


def test_what_is_refused_is_said_and_leaves_nothing(app, tmp_path):
    drop(app, "evil.zip", ATTACK.make(make_run_files(), tmp_path).read_bytes())
    bring(app)
    assert "names a layer that no network here has" in app.error[0].value.replace("\\", "")
    assert list(get_runs_dir().iterdir()) == []


def test_what_came_in_is_said_and_the_popover_is_closed_and_empty(app, tmp_path, monkeypatch):
    asked, popover = [], app.main.children[0].proto.id

    def import_run(file, name, runs_dir, on_progress):
        asked.append((file.read(), name, runs_dir))
        on_progress("Building the network")
        return Run(runs_dir / name)

    monkeypatch.setattr(ui.model_import, "import_run", import_run)
    drop(app, "small.zip", b"the zip")
    bring(app)
    assert asked == [(b"the zip", "small", get_runs_dir())]
    assert app.session_state["toast"][0] == "**small** is here and can predict\\.".replace(
        "\\.", "."
    )
    assert not app.text_input
    assert app.main.children[0].proto.id != popover  # another one, which nobody has opened


def test_the_page_says_what_a_zip_needs_and_how_a_larger_one_comes_in(app):
    text = app.file_uploader[0].help
    for name in ("config.json", "serving.json", "index.csv", "model.weights.h5", "model.keras"):
        assert f"`{name}`" in text
    assert "At most 50 MB;" in text
    assert "`serving.tflite` is made anew." in text
    assert "`python -m polyp_core import FILE`" in text


def test_a_shared_demo_offers_none(app, monkeypatch):
    monkeypatch.setenv("POLYP_DEMO", "1")
    app.run()
    assert not app.file_uploader
