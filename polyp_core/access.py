"""What may be read, and whether anything may be written, where others are let in.

POLYP_DATA_ROOTS    folders, with os.pathsep between them: images are read from below these alone
POLYP_DEMO          1 makes a shared demo: the demo images alone, and nothing is written
POLYP_USERS         e-mail addresses, with commas between them: who may come in after signing in

Without them everything the user may read can be read, as on one's own computer. They are obeyed by
the core itself, so by the pages, the workers and the command line alike: what a page does not show
cannot be reached past it.

References:
    The list of what was tried on others: the path traversals of MLflow (CVE-2023-1177, -1176,
    -2356, -2780, -3765, -6753), and CVE-2026-33682 of Streamlit (a path "//host/share" makes
    Windows send a password's hash to the host).
"""

import os
import re
from pathlib import Path

from polyp_core.errors import AccessError

_OFF = ("", "0", "false", "no", "off")
_MAX_LENGTH = 4096  # no system has longer paths
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NETWORK = re.compile(r"[\s\"']*[\\/]([\\/]|\?\?[\\/])")  # Windows takes "\??\" as it takes "\\?\"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|\\\\)|file:", re.IGNORECASE)  # "C:/" is none
DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?")
_HAS_DEVICES = os.name == "nt"  # elsewhere "aux" is a name as any other
_AT_HOME = "Run it on your own computer for that; README says how, in two commands."


def is_demo() -> bool:
    """Whether this is a shared demo: POLYP_DEMO=1."""
    return os.environ.get("POLYP_DEMO", "").strip().lower() not in _OFF


def check_writable(what: str) -> None:
    """Refuse to write on a shared demo; to be called before anything is written or started.

    Args:
        what: Would be done, as the beginning of a sentence: "Training".

    Raises:
        AccessError: If this is a shared demo.
    """
    if is_demo():
        raise AccessError(
            f"{what} is off on this shared demo, which keeps nothing. Expected something that only "
            f"looks. {_AT_HOME}"
        )


def list_users() -> list[str] | None:
    """Who may come in, by e-mail address in small letters; None lets in everybody signed in."""
    text = os.environ.get("POLYP_USERS", "")
    return [name.strip().casefold() for name in text.split(",") if name.strip()] if text else None


def list_roots() -> list[Path] | None:
    """The folders below which images may be read, resolved; None where there is no limit."""
    text = os.environ.get("POLYP_DATA_ROOTS", "")
    if not text:
        return None
    return [_resolve(part.strip()) for part in text.split(os.pathsep) if part.strip()]


def is_limited() -> bool:
    """Whether it matters at all where a file lies."""
    return is_demo() or list_roots() is not None


def check_text(text: str) -> None:
    """Refuse a path that somebody else may have made up and that must not even be looked for.

    A network path ("//host/share") makes Windows sign in at that host with the user's name.

    Raises:
        AccessError: If it is one.
    """
    if leads_to_network(text):
        raise AccessError(
            "A link, or a file of settings, must not name a place on another computer. Expected a "
            "path of this one. Type it by hand if you trust it. Received: "
            f"{_shorten(text)}"
        )


def leads_to_network(text: str) -> bool:
    """Whether a path may name another computer, as in "//host/share"; by its letters alone."""
    return _NETWORK.match(text) is not None


def check_folder(path: str | Path) -> Path:
    """A folder, or a manifest, that somebody asks for; refused unless it may be read.

    Args:
        path: As it was typed, chosen or linked. Nothing of it is decoded: "%2e" is a name.

    Returns:
        Where there is a limit, the same with every link followed; else as it was given, with "~"
        in full.

    Raises:
        AccessError: If it lies outside of POLYP_DATA_ROOTS and of what the app itself has written;
            on a shared demo, if it is not that of the demo images.
    """
    if not is_limited():
        return Path(path).expanduser()
    if is_demo():
        found = _find_below(path, [_resolve(get_demo_data_dir())])
        if found is None:
            raise AccessError(
                "A folder of this server cannot be opened on this shared demo. Expected the demo "
                f"images. {_AT_HOME} Received: {_shorten(os.fspath(path))}"
            )
        return found
    return check_file(path)


def check_file(path: str | Path) -> Path:
    """A file that something stored names, such as an image of a run; refused unless it may be read.

    A shared demo shows the images of the owner's runs where POLYP_DATA_ROOTS allows them by name.

    Returns:
        Where there is a limit, the same with every link followed; else as it was given.

    Raises:
        AccessError: If it lies outside of POLYP_DATA_ROOTS and of what the app itself has written.
    """
    if not is_limited():
        return Path(path)
    roots = list_roots() or []
    own = [get_demo_data_dir(), get_imports_dir(), get_splits_dir()]
    found = _find_below(path, [*map(_resolve, own), *roots])
    if found is None:
        raise AccessError(
            "This lies outside of the folders that may be read here. Expected a path below "
            f"{_say_roots(roots)}. Copy the images there, or ask whoever runs this server "
            f"(POLYP_DATA_ROOTS). Received: {_shorten(os.fspath(path))}"
        )
    return found


def check_files(folder: Path, paths: list[str]) -> None:
    """Refuse a data set of which any file leads out, by its path or by a link on the way.

    Args:
        folder: What the paths are relative to.
        paths: Of the files, with "/".

    Raises:
        AccessError: As `check_file`, for the first that does.
    """
    if not is_limited():
        return
    seen: set[str] = set()
    for path in paths:
        file = os.path.join(folder, path)
        parent = os.path.dirname(file)
        if parent not in seen:
            check_file(parent)
            seen.add(parent)
        if os.path.islink(file):
            check_file(file)


def get_workspace_dir() -> Path:
    """Where the app writes: $POLYP_WORKSPACE, which defaults to ./workspace."""
    return Path(os.environ.get("POLYP_WORKSPACE", "workspace"))


def get_imports_dir() -> Path:
    """Where zips and dragged folders are unpacked."""
    return get_workspace_dir() / "imports"


def get_splits_dir() -> Path:
    """Where clean splits are written, as manifests."""
    return get_workspace_dir() / "splits"


def get_demo_data_dir() -> Path:
    """Where the demo images lie once they are drawn."""
    return get_workspace_dir() / "demo-data"


def _find_below(path: str | Path, roots: list[Path]) -> Path | None:
    """The path with every link followed, if it is one of these folders or lies below one."""
    text = os.fspath(path)
    if not _is_sound(text):
        return None
    try:
        found = _resolve(text)
    except (OSError, RuntimeError, ValueError):  # a path that no system can have
        return None
    return found if any(found.is_relative_to(root) for root in roots) else None


def _is_sound(text: str) -> bool:
    """By its letters alone, before the disk or a network is touched."""
    if not text.strip() or len(text) > _MAX_LENGTH or _CONTROL.search(text):
        return False
    if leads_to_network(text) or _SCHEME.match(text.strip()):
        return False
    if not _HAS_DEVICES:
        return True
    return not any(DEVICE.fullmatch(part) for part in re.split(r"[\\/]", text))


def _resolve(path: str | Path) -> Path:
    return Path(os.path.realpath(Path(path).expanduser()))


def _say_roots(roots: list[Path]) -> str:
    shown = ", ".join(f"'{root}'" for root in roots[:5]) + (", …" if len(roots) > 5 else "")
    return shown or "no other folder than the demo images and those that were uploaded"


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
