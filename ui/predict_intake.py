"""What a visitor drops, picks or photographs becomes a list of images, in memory alone."""

import hashlib
import io
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit.typing import UploadedFile

from polyp_core.access import is_demo
from polyp_core.archives import is_left_out
from polyp_core.images import SUFFIXES
from polyp_core.intake import DEFAULT_LIMITS, Intake, Item, Limits, find_format, take_files
from polyp_core.intake.formats import HEAD_BYTES
from ui.predict_paste import listen_for_paste
from ui.predict_samples import draw_samples, forget_samples, tries_samples
from ui.words import escape

_MB = 2**20
_UPLOADS, _FOLDER, _CAMERA = "uploads", "predict folder", "predict camera"
_WAYS, _TAKEN = "predict ways", "predict taken"
_WAY_NAMES = {
    "folder": ":material/folder_open: A whole folder", "camera": ":material/photo_camera: Camera",
}  # fmt: skip
# Wide open as long as it is empty; a thousand names do not push the answers away.
_STYLE = f"""<style>
.st-key-{_UPLOADS} [data-testid="stFileUploaderDropzone"] {{
    border-style: dashed; align-items: center;
}}
.st-key-{_UPLOADS} [data-testid="stFileUploaderDropzone"]:not(:has([data-testid="stFileChips"])) {{
    min-height: 7rem; flex-direction: row; justify-content: center;
}}
.st-key-{_UPLOADS} [data-testid="stFileUploaderDropzoneInstructions"] {{
    width: auto; margin-right: 0;
}}
.st-key-{_UPLOADS} [data-testid="stFileChips"] {{ max-height: 6.5rem; overflow-y: auto; }}
</style>"""
_NUM_SHOWN = 3  # problems; more stand behind a click
# On a shared demo many visitors fill one memory.
_DEMO_LIMITS = Limits(max_files=200, max_total_bytes=50_000_000, max_pictures=400)
Files = list[tuple[str, BinaryIO]]


def keep_uploads_in_memory() -> None:
    """Have the web server take whole uploads into memory, as this page promises.

    It would write what is larger than 1 MB to the disk while it comes in, and only then read it.
    """
    largest = int(st.get_option("server.maxUploadSize")) * _MB
    MultiPartParser.spool_max_size = max(MultiPartParser.spool_max_size, largest + _MB)


def gather_files() -> Files:
    """The zone, and behind a click a folder and the camera; or the images that ship."""
    keep_uploads_in_memory()
    st.html(_STYLE)
    uploads: list[UploadedFile] = st.file_uploader(
        "Drop ultrasound images here", accept_multiple_files=True, key=_UPLOADS,
        help="PNG, JPEG, BMP, TIFF, WebP or DICOM, one or many, or a zip of them. Of a film up to "
        "16 frames are judged. An image can be pasted, too.",
    )  # fmt: skip
    listen_for_paste(_UPLOADS)
    privacy, more = st.columns([9, 4], gap="small", vertical_alignment="center")
    with privacy:
        st.caption(_say_privacy())
    with more, st.container():  # in which they wrap, where it is narrow
        ways = st.pills(
            "More ways", list(_WAY_NAMES), selection_mode="multi", key=_WAYS,
            format_func=lambda way: _WAY_NAMES[way], label_visibility="collapsed",
        )  # fmt: skip
    uploads = [*uploads, *_ask_for_more(ways)]
    if uploads:
        forget_samples()
        return [(upload.name, upload) for upload in uploads]
    if tries_samples():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                ":material/science: These are the images to try. Drop your own at any time.",
                width="content",
            )
            st.button(
                "Put them away", type="tertiary", icon=":material/close:", on_click=forget_samples
            )
        return [(name, io.BytesIO(data)) for name, data in draw_samples()]
    st.session_state.pop(_TAKEN, None)  # of images that were put away nothing is kept
    return []


def take_images(files: Files, group_pattern: str, *, are_numbered: bool) -> Intake:
    """Look through the files; what was looked through last is known, unless a file had to wait."""
    key = (group_pattern, are_numbered, [_identify(name, file) for name, file in files])
    known: tuple[object, Intake] | None = st.session_state.get(_TAKEN)
    if known is not None and known[0] == key:
        return known[1]
    taken = _take(files, group_pattern, are_numbered=are_numbered)
    if taken.was_busy:
        st.session_state.pop(_TAKEN, None)
    else:
        st.session_state[_TAKEN] = key, taken
    return taken


def show_problems(intake: Intake) -> None:
    """What was left out and why, calmly."""
    texts = [escape(text) for _, text in intake.problems]
    for text in texts[:_NUM_SHOWN]:
        st.warning(text, icon=":material/info:")
    if len(texts) > _NUM_SHOWN:
        with st.expander(f"{len(texts) - _NUM_SHOWN} more were left out"):
            st.markdown("\n".join(f"- {text}" for text in texts[_NUM_SHOWN:]))


def _take(files: Files, group_pattern: str, *, are_numbered: bool) -> Intake:
    place = st.empty()

    def show(done: int, total: int) -> None:
        if total > 20 and done % 10 == 0:
            place.progress(done / total, text=f"Looking through file {done} of {total} …")

    limits = _DEMO_LIMITS if is_demo() else DEFAULT_LIMITS
    strangers = [_find_stranger(name, file) for name, file in files]
    images = [file for file, found in zip(files, strangers, strict=True) if found is None]
    taken = take_files(
        images, group_pattern=group_pattern, are_numbered=are_numbered, limits=limits,
        on_progress=show,
    )  # fmt: skip
    place.empty()
    return replace(taken, items=(*taken.items, *filter(None, strangers)))


def _find_stranger(name: str, file: BinaryIO) -> Item | None:
    """A file that is an image by its name alone, to be counted among those that nobody can read."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    is_promised = PurePosixPath(name).suffix.lower() in SUFFIXES and not is_left_out(name)
    if not is_promised or find_format(head):
        return None
    sha256 = hashlib.sha256(head).hexdigest()
    return Item(name=name, data=head, frame=0, num_frames=1, patient="", sha256=sha256)


def _identify(name: str, file: BinaryIO) -> tuple[str, str]:
    return name, file.file_id if isinstance(file, UploadedFile) else "sample"


def _ask_for_more(ways: list[str]) -> list[UploadedFile]:
    """The zones that were asked for; the browser asks for the camera only where one is shown."""
    more: list[UploadedFile] = []
    if "folder" in ways:
        more += st.file_uploader(
            "Pick a folder", accept_multiple_files="directory", key=_FOLDER,
            help="Everything in it and below is looked through; what is no image is left out.",
        )  # fmt: skip
    if "camera" in ways:
        photo = st.camera_input("Take a picture", key=_CAMERA, resolution="1080p", width=480)
        more += [photo] if photo is not None else []
    return more


def _say_privacy() -> str:
    if is_demo():
        return (
            ":material/lock: This is a shared demo: your images stay in the server's memory for "
            "this visit, are not written to disk, and are gone when you leave this page. Upload "
            "only images without names that may be shared."
        )
    return (
        ":material/lock: Nothing is written to disk or leaves this computer; all is gone when you "
        "leave this page."
    )
