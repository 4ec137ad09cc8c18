"""The optional sign-in, as far as it goes without a provider: its pages, and who gets past them."""

import importlib.util
import sys
from types import ModuleType

import pytest
import streamlit as st
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
     ({"email": "ann@clinic.org", "email_verified": False}, False), ({"email": ""}, False),
     ({"email": None}, False), ({}, False)],
)  # fmt: skip
def test_the_list_lets_in_those_that_it_names(open_as, authlib, monkeypatch, person, is_let_in):
    monkeypatch.setenv("POLYP_USERS", "bob@clinic.org, Ann@clinic.org")
    app = open_as("Home", AUTH | PROVIDER, person)
    assert bool(app.sidebar.get("page_link")) is is_let_in
    if not is_let_in:
        assert app.title[0].value == "Not on the list"
        assert list_labels(app) == ["Sign out"]


def test_a_list_without_a_way_to_sign_in_opens_no_door(open_as, monkeypatch):
    monkeypatch.setenv("POLYP_USERS", "ann@clinic.org")
    app = open_as("Home", None)
    assert "POLYP_USERS" in app.error[0].value.replace("\\", "")
    assert not app.sidebar.get("page_link")


def test_without_settings_nobody_is_asked(open_as):
    app = open_as("Home", None)
    assert "Sign out" not in list_labels(app)
    assert app.sidebar.get("page_link")
