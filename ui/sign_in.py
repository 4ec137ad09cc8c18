"""Who may come in: an optional sign-in through Streamlit's own OpenID Connect.

It is asked for where `.streamlit/secrets.toml` has a section [auth]; without it nothing is asked
and nothing is imported.
"""

import importlib.util
import os
from collections.abc import Mapping

import streamlit as st

from polyp_core.access import list_users
from ui.words import escape

_NEEDED = ("client_id", "client_secret", "server_metadata_url")


def ask_to_sign_in() -> None:
    """Go on only for somebody who may come in; else show how to, and end the page here.

    To be called before anything else of a page is drawn. Nobody reaches a button's work past it:
    what a session was never shown it cannot press.
    """
    settings, users = _read_settings(), list_users()
    if settings is None:
        if users is not None:  # whoever sets a list of people does not want everybody
            _stop(
                "POLYP_USERS names who may come in, but nobody can sign in: "
                "'.streamlit/secrets.toml' has no section [auth]. Expected one, as docs/sharing.md "
                "has it. Add it, or leave POLYP_USERS out."
            )
        return
    if importlib.util.find_spec("authlib") is None:
        _stop(
            "Nobody can sign in: the package Authlib is missing. Expected it, as "
            "'.streamlit/secrets.toml' has a section [auth]. Install it with "
            '`pip install "streamlit[auth]"` and start the server again.'
        )
    if not st.user.get("is_logged_in", False):
        _show_doors(settings)
    elif users is not None and _find_email() not in users:
        st.title("Not on the list")
        st.write(
            f"You are signed in as **{escape(_find_email() or 'somebody without an e-mail')}**, "
            "which is not among the addresses that may come in here. Ask whoever runs this server, "
            "or sign in with another one."
        )
        st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign out")
        st.stop()


def show_signed_in() -> None:
    """Who is signed in, and the way out; nothing where nobody has to."""
    if _read_settings() is not None:
        st.caption(f":material/person: {escape(_find_email() or 'Signed in')}")
        st.button(
            "Sign out", icon=":material/logout:", type="tertiary", on_click=st.logout,
            key="sign out",
        )  # fmt: skip


def _read_settings() -> Mapping[str, object] | None:
    """The section [auth] of secrets.toml; None where there is none.

    Streamlit takes a file that it cannot read for no file: the door it may describe would stand
    open.
    """
    try:
        is_read = st.secrets.load_if_toml_exists()
        is_broken = not is_read and any(map(os.path.lexists, st.get_option("secrets.files")))
    except (OSError, ValueError):  # not ours to read, a folder, or no text
        is_read, is_broken = False, True
    if is_broken:
        _stop(
            "Nobody can come in: '.streamlit/secrets.toml' cannot be read, so whether people have "
            "to sign in is not known. Expected a TOML file, here or in the home folder, as "
            "docs/sharing.md has it, that this server may read. Correct it, or take it away; what "
            "the server prints as it starts says what is wrong with it."
        )
    if not is_read or "auth" not in st.secrets:
        return None
    settings: Mapping[str, object] = st.secrets["auth"]
    return settings


def _show_doors(settings: Mapping[str, object]) -> None:
    """A button for each provider that is described in full."""
    named = {
        name: values for name, values in settings.items()
        if isinstance(values, Mapping) and name != "client_kwargs"
    }  # fmt: skip
    doors: dict[str | None, str] = {None: "Sign in"} if _is_whole(settings) else {}
    doors |= {name: f"Sign in with {name}" for name, values in named.items() if _is_whole(values)}
    st.title("Please sign in")
    st.write("Whoever runs this server lets in only people who have signed in.")
    if not doors or not settings.get("redirect_uri") or not settings.get("cookie_secret"):
        _stop(
            "The section [auth] of '.streamlit/secrets.toml' is incomplete. Expected redirect_uri "
            f"and cookie_secret, and for each provider {', '.join(_NEEDED)}. Complete it as "
            "docs/sharing.md has it, and start the server again."
        )
    for name, label in doors.items():
        st.button(
            escape(label), type="primary", icon=":material/login:", on_click=st.login,
            args=(name,), key=f"sign in {name}",
        )  # fmt: skip
    st.stop()


def _is_whole(provider: Mapping[str, object]) -> bool:
    return all(provider.get(name) for name in _NEEDED)


def _find_email() -> str:
    """The address in small letters; "" where there is none, or the provider does not vouch for it.

    One that says nothing of it is believed; some write the word as text, or as a number.
    """
    if str(st.user.get("email_verified", True)).casefold() not in ("true", "1"):
        return ""
    return str(st.user.get("email") or "").strip().casefold()


def _stop(problem: str) -> None:
    st.error(escape(problem), icon=":material/error:")
    st.stop()
