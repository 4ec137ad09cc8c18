"""Where the images come from: the demo set, a folder of this computer, or the browser."""

import shutil
from contextlib import suppress
from pathlib import Path

import streamlit as st

from polyp_core import workspace
from polyp_core.access import check_folder, is_demo, leads_to_network, list_roots
from polyp_core.config import DataConfig
from polyp_core.dataset import choose_positive_class, find_group
from polyp_core.errors import ConfigError, PolypError
from polyp_core.importing import Imported, import_files, import_zip
from polyp_core.layout import Sources, find_sources
from polyp_core.words import say_number
from ui.draft import get_data_config, get_folder, get_key
from ui.frame import say_off, show_problem
from ui.known_folders import list_known_folders
from ui.setting_fields import show_setting
from ui.words import escape

_SOURCES = {"demo": "Demo images", "folder": "A folder here", "upload": "Upload"}
_SHOWN_FOLDERS = 500
_KNOWN = "known folders"


def show_source_choice() -> None:
    """The demo set, a folder or manifest of this computer, or files dropped into the browser."""
    if is_demo():
        say_off("Opening your own folder of images")
        return
    st.session_state.setdefault("source", "demo")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Images",
            list(_SOURCES),
            format_func=lambda name: _SOURCES[name],
            required=True,
            key="source",
            persist_state="session",
        )
        if st.session_state["source"] == "folder":
            st.text_input(
                "Folder or CSV manifest",
                key="folder",
                placeholder=_suggest_folder(),
                help="With train/ and validation/, with one folder per class, or a CSV with the "
                "columns path, label, group (the patient) and split. Nothing in it is changed.",
                persist_state="session",
            )
            demo = str(workspace.get_demo_data_dir().absolute())
            known = [] if get_folder() else list_known_folders(demo)
            if known:
                st.selectbox(
                    "Known folders", known, key=_KNOWN, index=None, placeholder="Take one of them",
                    on_change=_take_known,
                )  # fmt: skip
            if st.button("Browse", icon=":material/folder_open:"):
                _browse()
            if get_folder():
                with st.popover("How it is read", icon=":material/tune:"):
                    _show_reading()
    if st.session_state["source"] == "upload":
        _show_upload()
    elif st.session_state["source"] == "folder":
        _show_imported()


def _take_known() -> None:
    if st.session_state[_KNOWN]:
        st.session_state["folder"] = st.session_state[_KNOWN]


def _suggest_folder() -> str:
    roots = list_roots()
    return f"such as {roots[0]}" if roots else "such as C:\\ultrasound\\polyps or ~/polyps"


def has_folder() -> bool:
    """Whether there are images to look at; says what to do where no folder is given yet."""
    if st.session_state.get("source") == "upload" and not is_demo():
        return False
    if get_data_config().folder:
        return True
    st.info(
        "Give the folder of your images above: with train/ and validation/, or with one folder per "
        "class. Nothing in it is changed.",
        icon=":material/folder_open:",
    )
    return False


def _show_upload() -> None:
    folder_column, zip_column = st.columns(2, gap="medium")
    with folder_column:
        files = st.file_uploader(
            "Drop a folder of images",
            accept_multiple_files="directory",
            help="Its class folders, or train/ and validation/, as on your disk; or a folder with "
            "a manifest.csv. The files are copied as they are, names and DICOM headers included, "
            "into the workspace on this computer. For very many images give the folder's path "
            "under 'A folder here' instead.",
        )
    with zip_column:
        archive = st.file_uploader(
            "or a zip of such a folder", type="zip",
            help="A larger one: unpack it and give the folder's path under 'A folder here', or "
            "start the server with a larger --server.maxUploadSize.",
        )  # fmt: skip
    if not files and archive is None:
        return
    bar = st.progress(0.0, text="Copying …")

    def show(done: int, total: int) -> None:
        bar.progress(min(1.0, done / max(1, total)), text="Copying into the workspace …")

    try:
        imports_dir = workspace.get_imports_dir()
        if archive is not None:
            imported = import_zip(archive, archive.name, imports_dir, show)
        else:
            named = [(file.name, file) for file in files]
            top = Path(files[0].name.replace("\\", "/")).parts[0]
            imported = import_files(named, top, imports_dir, show)
    except PolypError as error:
        bar.empty()
        show_problem(str(error))
        return
    _take_imported(imported)


def _take_imported(imported: Imported) -> None:
    """Look at what was imported, as at any folder."""
    left_out = (
        f"; {say_number(imported.num_left_out, 'hidden file was', 'hidden files were')} left out"
        if imported.num_left_out
        else ""
    )
    st.session_state["next source"] = ("folder", str(imported.folder.absolute()))
    st.session_state["imported"] = (
        f"{say_number(imported.num_files, 'file')} copied into the workspace{left_out}."
    )
    st.rerun()


def _show_imported() -> None:
    """What was copied, and a way to delete the copy."""
    folder = _find_imported(get_folder())
    if folder is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{st.session_state.get('imported', 'A copy in the workspace.')}")
        st.button(
            "Delete this copy", type="tertiary", icon=":material/delete:",
            on_click=_delete_imported, args=(folder,),
            help="Removes the copy in the workspace. Your own files stay.",
        )  # fmt: skip


def _find_imported(text: str) -> Path | None:
    """The folder, if it is a copy that was made here."""
    if not text or leads_to_network(text):
        return None
    try:
        folder = check_folder(text).resolve()
    except (PolypError, OSError, RuntimeError, ValueError):  # no folder, as the page says below
        return None
    return folder if folder.parent == workspace.get_imports_dir().resolve() else None


def _delete_imported(folder: Path) -> None:
    if is_demo():
        return
    shutil.rmtree(folder, ignore_errors=True)
    st.session_state["source"], st.session_state["folder"] = "upload", ""


def take_next_source() -> None:
    """Go on with what was imported or picked; to be called before the widgets are drawn."""
    if "next source" in st.session_state:
        source, folder = st.session_state.pop("next source")
        if is_demo():
            return
        st.session_state["source"], st.session_state["folder"] = source, folder


@st.dialog("Choose a folder of this computer", width="medium")
def _browse() -> None:
    here = _find_start() if "browse" not in st.session_state else st.session_state["browse"]
    roots = list_roots()
    st.session_state["browse"] = here = _keep_inside(here)
    inside = _list_inside(here) if here else roots or []
    st.markdown(f":material/folder: {escape(here) or 'The folders that may be read here'}")
    with st.container(height=320):
        parent = str(Path(here).parent)
        if here and _keep_inside(parent) == parent != here:
            _show_step(parent, f"Up to {Path(parent).name or parent}", "arrow_upward")
        elif here and roots is not None and len(roots) > 1:
            _show_step("", "All folders that may be read", "arrow_upward")
        for path in inside[:_SHOWN_FOLDERS]:
            _show_step(str(path), path.name if here else str(path), "folder")
        if not inside:
            st.caption("No folders in here.")
    if st.button("Use this folder", type="primary", disabled=not here):
        st.session_state["next source"] = ("folder", here)
        del st.session_state["browse"]
        st.rerun()


def _find_start() -> str:
    """The folder that is typed, if it is one; else the only root, or the visitor's home."""
    with suppress(PolypError, OSError, RuntimeError, ValueError):
        folder = check_folder(get_folder())
        if get_folder() and folder.is_dir():
            return str(folder)
    roots = list_roots()
    if roots is None:
        return str(Path.home())
    return str(roots[0]) if len(roots) == 1 else ""


def _keep_inside(here: str) -> str:
    """The folder, if it may be read; else "", which stands for all that may."""
    if list_roots() is None or not here:
        return here
    with suppress(PolypError):
        return str(check_folder(here))
    return ""


def _list_inside(here: str) -> list[Path]:
    """The folders in a folder, but for hidden ones and links that lead out."""
    try:
        found = sorted(p for p in Path(here).iterdir() if not p.name.startswith("."))
        return [path for path in found if _keep_inside(str(path)) and path.is_dir()]
    except OSError as error:
        show_problem(f"The folder '{here}' cannot be opened ({error.strerror}). Choose another.")
        return []


def _show_step(path: str, label: str, icon: str) -> None:
    def go() -> None:
        st.session_state["browse"] = path

    st.button(
        escape(label),
        key=f"browse {path}",
        icon=f":material/{icon}:",
        type="tertiary",
        on_click=go,
    )


def _show_reading() -> None:
    """The settings of reading, each with what it does to these very files."""
    try:
        sources: Sources | None = find_sources(get_data_config().folder)
    except PolypError:
        sources = None
    if sources is not None:
        _show_positive_class(sources.class_names)
    show_setting("data", "group_pattern")
    if sources is not None:
        _show_patients(sources)
    show_setting("data", "validation_fraction")
    show_setting("data", "seed")


def _show_positive_class(class_names: list[str]) -> None:
    key = get_key("data", "positive_class")
    chosen = st.session_state.get(key)
    if chosen not in class_names:
        st.session_state[key] = choose_positive_class(class_names)
    st.selectbox(
        "Positive class",
        class_names,
        key=key,
        help=DataConfig.__dataclass_fields__["positive_class"].metadata["help"],
        persist_state="session",
    )


def _show_patients(sources: Sources) -> None:
    """What the pattern makes of the first names."""
    try:
        pattern = get_data_config().group_pattern
    except ConfigError as error:
        st.caption(f":material/error: {escape(str(error))}")
        return
    names = [file.name for file in sources.files]
    if not pattern:
        return
    groups = [find_group(name, pattern) for name in names]
    step = max(1, len(names) // 3)
    shown = [
        f"{escape(names[i])} → {escape(groups[i]) or '**no patient**'}"
        for i in range(0, len(names), step)
    ]
    num_found = len({group for group in groups if group})
    st.caption(
        f"{say_number(num_found, 'patient')} in {say_number(len(names), 'file')}. "
        + "; ".join(shown[:3])
    )
