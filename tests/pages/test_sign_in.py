"""The optional sign-in, as far as it goes without a provider: its pages, and who gets past them."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import streamlit as st
from streamlit import config
from streamlit.runtime.secrets import Secrets
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import PAGES, ROOT, read_texts

PROVIDER = {"client_id": "a", "client_secret": "b", "server_metadata_url": "https://id.test/x"}
AUTH = {"redirect_uri": "http://localhost:8501/oauth2callback", "cookie_secret": "c" * 40}


@pytest.fixture
def authlib(monkeypatch):
    """As if Authlib were there; nothing of it is called before somebody presses a button."""
    module = ModuleType("authlib")
    module.__spec__ = importlib.util.spec_from_loader("authlib", loader=None)
    monkeypatch.setitem(sys.modules, "authlib", module)


@pytest.fixture
def open_as(demo_data, monkeypatch):
    """Open a page with these secrets, as this person."""

    def open_(name: str, secrets: dict | None, person: dict | None = None) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
        if secrets is not None:
            app.secrets["auth"] = secrets
        shown = {"is_logged_in": person is not None} | (person or {})
        monkeypatch.setattr(type(st.user), "get", lambda self, key, default=None: shown.get(
            key, default))  # fmt: skip
        app.run()
        if PAGES[name] is not None:
            app.switch_page(PAGES[name]).run()
        assert not app.exception, app.exception
        return app

    return open_


@pytest.fixture
def secrets_at(tmp_path, monkeypatch):
    """Have secrets looked for at a place of this test's, by Streamlit itself."""
    before = config.get_option("secrets.files")

    def place(name: str) -> Path:
        secrets = Secrets()
        secrets._file_watchers_installed = True  # nobody has to watch what is gone in a moment
        monkeypatch.setattr(st, "secrets", secrets)
        path = tmp_path / "of the server" / name
        path.parent.mkdir()
        config.set_option("secrets.files", [str(tmp_path / "nowhere.toml"), str(path)])
        return path

    yield place
    config.set_option("secrets.files", before)


def list_labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


@pytest.mark.parametrize("name", list(PAGES))
def test_every_page_ends_at_the_door_for_whoever_has_not_signed_in(open_as, authlib, name):
    app = open_as(name, AUTH | PROVIDER)
    assert [title.value for title in app.title] == ["Please sign in"]
    assert list_labels(app) == ["Sign in"]
    assert not app.sidebar.get("page_link")
    assert not app.get("file_uploader")
    assert not app.get("image")


def test_whoever_is_signed_in_sees_the_page_and_the_way_out(open_as, authlib):
    app = open_as("Data", AUTH | PROVIDER, {"email": "ann@clinic.org"})
    assert app.title[0].value == "Data"
    assert "ann@clinic\\.org" in read_texts(app)
    assert "Sign out" in list_labels(app)


def test_several_providers_have_a_button_each(open_as, authlib):
    app = open_as("Home", AUTH | {"clinic": PROVIDER, "university": PROVIDER, "half": {"a": "b"}})
    assert list_labels(app) == ["Sign in with clinic", "Sign in with university"]


@pytest.mark.parametrize(
    "secrets",
    [{}, PROVIDER, AUTH, AUTH | {"client_id": "a"}, AUTH | PROVIDER | {"cookie_secret": ""}],
)
def test_incomplete_settings_open_no_door(open_as, authlib, secrets):
    app = open_as("Home", secrets)
    assert "incomplete" in app.error[0].value
    assert not app.button
    assert not app.sidebar.get("page_link")


def test_a_missing_package_is_said_and_opens_no_door(open_as, monkeypatch):
    monkeypatch.setitem(sys.modules, "authlib", None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec",
        lambda name, *rest: None if name == "authlib" else find_spec(name, *rest),
    )  # fmt: skip
    app = open_as("Home", AUTH | PROVIDER, {"email": "ann@clinic.org"})
    assert "Authlib is missing" in app.error[0].value
    assert "streamlit\\[auth\\]" in app.error[0].value
    assert not app.title


@pytest.mark.parametrize(
    ("person", "is_let_in"),
    [({"email": "ann@clinic.org"}, True), ({"email": "ANN@Clinic.org", "email_verified": True},
     True), ({"email": "eve@clinic.org"}, False), ({"email": "ann@clinic.org.evil.org"}, False),
     ({"email": ""}, False), ({"email": None}, False), ({}, False)],
)  # fmt: skip
def test_the_list_lets_in_those_that_it_names(open_as, authlib, monkeypatch, person, is_let_in):
    monkeypatch.setenv("POLYP_USERS", "bob@clinic.org, Ann@clinic.org")
    app = open_as("Home", AUTH | PROVIDER, person)
    assert bool(app.sidebar.get("page_link")) is is_let_in
    if not is_let_in:
        assert app.title[0].value == "Not on the list"
        assert list_labels(app) == ["Sign out"]


@pytest.mark.parametrize(
    ("claim", "is_let_in"),
    [(True, True), ("true", True), ("True", True), (1, True), ("1", True), (False, False),
     ("false", False), ("False", False), ("FALSE", False), (0, False), ("0", False), ("no", False),
     ("", False), (None, False), ([], False)],
)  # fmt: skip
def test_an_address_counts_only_where_the_provider_does_not_doubt_it(
    open_as, authlib, monkeypatch, claim, is_let_in
):
    monkeypatch.setenv("POLYP_USERS", "ann@clinic.org")
    app = open_as("Home", AUTH | PROVIDER, {"email": "ann@clinic.org", "email_verified": claim})
    assert bool(app.sidebar.get("page_link")) is is_let_in


def forbid(path: Path) -> None:
    path.write_text("[auth]")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs the tests may read everything")


def mount(path: Path) -> None:
    path.mkdir()
    (path / "auth").write_text("a file where a folder is expected")


BROKEN: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut short": ("secrets.toml", lambda path: path.write_text('[auth]\nclient_id = "a')),
    "a section twice": ("secrets.toml", lambda path: path.write_text("[auth]\n[auth]\n")),
    "no text": ("secrets.toml", lambda path: path.write_bytes(b"[auth]\n\xff\xfe")),
    "a folder": ("secrets.toml", lambda path: path.mkdir()),
    "not allowed": ("secrets.toml", forbid),
    "a link to nothing": ("secrets.toml", lambda path: path.symlink_to("gone.toml")),
    "another kind of file": ("secrets.json", lambda path: path.write_text("{}")),
    "a folder of files": ("secrets", mount),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_settings_that_cannot_be_read_open_no_door(open_as, secrets_at, kind):
    name, write = BROKEN[kind]
    write(secrets_at(name))
    app = open_as("Data", None)
    assert "cannot be read" in app.error[0].value
    assert "of the server" not in read_texts(app)
    assert not app.title
    assert not app.button
    assert not app.sidebar.get("page_link")
    assert not app.get("image")


def test_settings_that_are_read_from_a_file_ask_to_sign_in(open_as, authlib, secrets_at):
    lines = [f'{name} = "{value}"' for name, value in (AUTH | PROVIDER).items()]
    secrets_at("secrets.toml").write_text("\n".join(["[auth]", *lines]))
    assert list_labels(open_as("Data", None)) == ["Sign in"]


def test_other_secrets_alone_ask_nobody(open_as, secrets_at):
    secrets_at("secrets.toml").write_text("[elsewhere]\nkey = 1\n")
    assert open_as("Home", None).sidebar.get("page_link")


def test_a_list_without_a_way_to_sign_in_opens_no_door(open_as, monkeypatch):
    monkeypatch.setenv("POLYP_USERS", "ann@clinic.org")
    app = open_as("Home", None)
    assert "POLYP_USERS" in app.error[0].value.replace("\\", "")
    assert not app.sidebar.get("page_link")


def test_without_settings_nobody_is_asked(open_as):
    app = open_as("Home", None)
    assert "Sign out" not in list_labels(app)
    assert app.sidebar.get("page_link")
