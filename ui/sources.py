"""Where the images come from: the demo set, a folder of this computer, or the browser."""

import shutil
from pathlib import Path

import streamlit as st

from polyp_core import workspace
from polyp_core.config import DataConfig
from polyp_core.dataset import choose_positive_class, find_group
from polyp_core.errors import ConfigError, DatasetError, PolypError
from polyp_core.importing import Imported, import_files, import_zip
from polyp_core.layout import Sources, find_sources
from polyp_core.words import say_number
from ui.draft import get_data_config, show_setting
from ui.frame import show_problem
from ui.words import escape

_SOURCES = {"demo": "Demo images", "folder": "A folder here", "upload": "Upload"}
_SHOWN_FOLDERS = 500
_MAX_ZIP_MB = 2000


def show_source_choice() -> None:
    """The demo set, a folder or manifest of this computer, or files dropped into the browser."""
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
                placeholder="such as C:\\ultrasound\\polyps or ~/polyps",
                help="With train/ and validation/, with one folder per class, or a CSV with the "
                "columns path, label, group (the patient) and split. Nothing in it is changed.",
                persist_state="session",
            )
            if st.button("Browse", icon=":material/folder_open:"):
                _browse()
            with st.popover("How it is read", icon=":material/tune:"):
                _show_reading()
    if st.session_state["source"] == "upload":
        _show_upload()
    elif st.session_state["source"] == "folder":
        _show_imported()


def has_folder() -> bool:
    """Whether there are images to look at; says what to do where no folder is given yet."""
    if st.session_state.get("source") == "upload":
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
            "or a zip of such a folder", type="zip", max_upload_size=_MAX_ZIP_MB
        )
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
    folder = Path(str(st.session_state.get("folder") or ".")).resolve()
    if folder.parent != workspace.get_imports_dir().resolve():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{st.session_state.get('imported', 'A copy in the workspace.')}")
        st.button(
            "Delete this copy", type="tertiary", icon=":material/delete:",
            on_click=_delete_imported, args=(folder,),
            help="Removes the copy in the workspace. Your own files stay.",
        )  # fmt: skip


def _delete_imported(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    st.session_state["source"], st.session_state["folder"] = "upload", ""


def take_next_source() -> None:
    """Go on with what was imported or picked; to be called before the widgets are drawn."""
    if "next source" in st.session_state:
        source, folder = st.session_state.pop("next source")
        st.session_state["source"], st.session_state["folder"] = source, folder


@st.dialog("Choose a folder of this computer", width="medium")
def _browse() -> None:
    text = str(st.session_state.get("folder") or "").strip(" \"'")
    start = Path(text).expanduser() if text else Path.home()
    here = Path(
        st.session_state.setdefault("browse", str(start if start.is_dir() else Path.home()))
    )
    try:
        inside = sorted(p for p in here.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        show_problem(f"The folder '{here}' cannot be opened ({error.strerror}). Choose another.")
        inside = []
    st.markdown(f":material/folder: {escape(str(here))}")
    with st.container(height=320):
        if here.parent != here:
            _show_step(
                here.parent, "Up to " + (here.parent.name or str(here.parent)), "arrow_upward"
            )
        for path in inside[:_SHOWN_FOLDERS]:
            _show_step(path, path.name, "folder")
        if not inside:
            st.caption("No folders in here.")
    if st.button("Use this folder", type="primary"):
        st.session_state["next source"] = ("folder", str(here))
        del st.session_state["browse"]
        st.rerun()


def _show_step(path: Path, label: str, icon: str) -> None:
    def go() -> None:
        st.session_state["browse"] = str(path)

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
    except (DatasetError, ConfigError):
        sources = None
    if sources is not None:
        _show_positive_class(sources.class_names)
    show_setting("data", "group_pattern")
    if sources is not None:
        _show_patients(sources)
    show_setting("data", "validation_fraction")
    show_setting("data", "seed")


def _show_positive_class(class_names: list[str]) -> None:
    key = "setting data.positive_class"
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
