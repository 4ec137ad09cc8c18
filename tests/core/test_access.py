import io
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from polyp_core import (
    access,
    decision,
    evaluation_jobs,
    importing,
    jobs,
    manifest,
    queueing,
    reviews,
    study_jobs,
    workspace,
)
from polyp_core.dataset import read_index
from polyp_core.errors import AccessError, DatasetError, PolypError
from polyp_core.layout import find_sources
from polyp_core.processes import make_directory, start_process
from polyp_core.runs import Run
from polyp_core.study import Study
from tests.conftest import make_config, write_classes, write_image

NETWORK = (r"\\host\share", "//host/share", r"\/host/share", r"/\host\share", r"\\?\C:\x",
           r"\\.\pipe\x", ' "//host/share"', "\t//host/share", r"\??\UNC\host\share",
           "/??/UNC/host/share", r"\??/C:\x", r" '/??\UNC\host\share'")  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A folder that may be read, beside one that may not."""
    root = write_classes(tmp_path / "open" / "polyps", num_patients=4).parent
    write_classes(tmp_path / "secret", num_patients=4)
    monkeypatch.setenv("POLYP_DATA_ROOTS", str(root))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def demo(monkeypatch) -> None:
    """A shared demo."""
    monkeypatch.setenv("POLYP_DEMO", "1")


# What was tried on others (the MLflow advisories and what grew out of them); {} is the way from
# the open folder to the secret one.
TRAVERSALS = [
    "../secret", "polyps/../../secret", "polyps/calcified/../../../secret", "./../secret",
    "..//secret", ".././secret", "..\\secret", "..\\..\\secret", "polyps\\..\\..\\secret",
    "{}", "{}/", "{}/.", "/{}", "//{}", "file://{}", "FILE://{}", "file:{}", "File:{}",
    "file://localhost{}", "ftp://host/x", "s3://bucket/x", "http://127.0.0.1/x",
    "%2e%2e/secret", "%2e%2e%2fsecret", "%252e%252e%252fsecret", "..%2fsecret", "..%5csecret",
    "..%c0%afsecret", "\uff0e\uff0e/secret", "..;/secret", "....//secret", ".../secret",
    "../secret.", "../secret ", "../secret...", "../SECRET", "../Secret", "..\0/secret",
    "polyps\0", "polyps/\0/../../secret", "../secret\n", "C:/secret", "C:\\secret", "c:secret",
    "~", "~/", "~root", "~nobody-here/x", "$HOME", "${{HOME}}", "%USERPROFILE%", "/", "/etc",
    "/proc/self/root/etc", "/dev/fd/0", "/dev/stdin", "CON", "nul", "polyps/com1.txt", "aux.png",
    "x" * 5000, "../" * 2000, *NETWORK,
]  # fmt: skip


@pytest.mark.parametrize("text", TRAVERSALS)
def test_no_spelling_leads_out_of_the_roots(root, tmp_path, text):
    secret = tmp_path / "secret"
    with pytest.raises(PolypError):
        find_sources(text.format(secret))
    with suppress(AccessError):
        found = access.check_folder(text.format(secret))
        # Taken literally: a folder of that name below the root, which is not there.
        assert found.is_relative_to(root.resolve())
        assert not found.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no folders of these names")
@pytest.mark.parametrize("name", ["aux", "con", "PRN", "nul", "com1", "lpt9.scans", "conin$"])
def test_the_name_of_a_device_is_refused_on_windows_alone(root, monkeypatch, name):
    folder = write_classes(root / name, num_patients=4)
    assert len(find_sources(str(folder)).files) == 8
    assert access.check_file(folder / "1.png") == folder.resolve() / "1.png"
    monkeypatch.setattr(access, "_HAS_DEVICES", True)
    for path in (folder, folder / "1.png", f"{name}\\1.png"):
        with pytest.raises(AccessError, match="outside of the folders"):
            access.check_file(path)


@pytest.mark.parametrize(
    "text", ["polyps", "./polyps/", "polyps/../polyps", "polyps/calcified/..", "{}", "{}/."]
)
def test_every_spelling_of_a_folder_below_a_root_is_read(root, text):
    assert find_sources(text.format(root / "polyps")).folder == (root / "polyps").resolve()


def test_a_home_below_a_root_may_be_called_by_its_sign(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    assert find_sources("~/polyps").folder == (root / "polyps").resolve()


def test_a_folder_whose_name_only_begins_like_a_root_is_refused(root):
    beside = write_classes(root.with_name("open-too"))
    with pytest.raises(AccessError, match="outside of the folders"):
        find_sources(str(beside))


def test_several_roots_and_the_root_itself_may_be_read(root, tmp_path, monkeypatch):
    both = [str(tmp_path / "secret"), "", str(root / "polyps")]
    monkeypatch.setenv("POLYP_DATA_ROOTS", os.pathsep.join(both))
    for folder in (both[0], both[2]):
        assert len(find_sources(folder).files) == 8
    assert access.list_roots() == [Path(both[0]).resolve(), Path(both[2]).resolve()]


def test_a_root_that_is_a_link_opens_what_it_leads_to(tmp_path, monkeypatch):
    folder = write_classes(tmp_path / "real" / "polyps")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("POLYP_DATA_ROOTS", str(tmp_path / "link"))
    assert find_sources(str(folder)).folder == folder.resolve()
    assert find_sources(str(tmp_path / "link" / "polyps")).folder == folder.resolve()


def test_roots_without_a_name_open_nothing(root, monkeypatch):
    monkeypatch.setenv("POLYP_DATA_ROOTS", os.pathsep)
    with pytest.raises(AccessError, match="no other folder"):
        find_sources(str(root / "polyps"))


def test_without_roots_everything_may_be_read(root, tmp_path, monkeypatch):
    monkeypatch.delenv("POLYP_DATA_ROOTS")
    (root / "way-out").symlink_to(tmp_path / "secret")
    for text in ("../secret", str(tmp_path / "secret"), "way-out"):
        assert len(find_sources(text).files) == 8


@pytest.mark.parametrize("link", ["", "calcified", "calcified/patient-01_0.png", "manifest.csv"])
def test_a_link_that_leads_out_is_refused_wherever_it_stands(root, tmp_path, link):
    folder, secret = root / "polyps", tmp_path / "secret"
    (secret / "manifest.csv").write_text("secret words\n")
    place = folder / link if link else root / "link"
    if place.is_dir():
        place.rename(tmp_path / "away")
    else:
        place.unlink(missing_ok=True)
    place.symlink_to(secret / link if link else secret)
    with pytest.raises(AccessError, match="outside of the folders") as caught:
        find_sources(str(folder if link else place))
    assert "secret words" not in str(caught.value)


def test_a_link_among_wrapping_folders_does_not_tell_what_lies_there(root, tmp_path):
    (tmp_path / "secret" / "a-secret-name").mkdir()
    (root / "wrapped").mkdir()
    (root / "wrapped" / "inside").symlink_to(tmp_path / "secret")
    with pytest.raises(AccessError) as caught:
        find_sources(str(root / "wrapped"))
    assert "a-secret-name" not in str(caught.value)


@pytest.mark.parametrize("path", ["../secret/calcified/patient-01_0.png", "{}/calcified/x.png"])
def test_a_manifest_below_a_root_does_not_lead_out(root, tmp_path, path):
    own = root / "list.csv"
    named = path.format(tmp_path / "secret")
    own.write_text(f"path,label\n{named},sick\npolyps/non-calcified/patient-00_0.png,well\n")
    with pytest.raises(AccessError, match="outside of the folders"):
        find_sources(str(own))


def test_a_manifest_may_name_files_of_several_roots(root, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    own = root / "list.csv"
    own.write_text(
        f"path,label\n{secret}/calcified/patient-01_0.png,sick\n"
        "polyps/non-calcified/patient-00_0.png,well\n"
    )
    monkeypatch.setenv("POLYP_DATA_ROOTS", os.pathsep.join([str(root), str(secret)]))
    assert len(find_sources(str(own)).files) == 2


@pytest.mark.parametrize("text", [r"\\host\share\1.png", "//host/share/1.png"])
def test_a_manifest_below_a_root_asks_no_other_computer(root, monkeypatch, text):
    (root / "list.csv").write_text(f"path,label\n{text},sick\na.png,well\n")
    looked_for = []
    monkeypatch.setattr(os.path, "lexists", lambda path: looked_for.append(path) or True)
    with pytest.raises(DatasetError, match="leads out"):
        find_sources(str(root / "list.csv"))
    assert not looked_for


def test_what_the_app_itself_has_written_may_always_be_read(root, workspace_dir):
    for folder in (workspace.get_imports_dir() / "a", workspace.get_demo_data_dir()):
        write_classes(folder, num_patients=4)
        assert len(find_sources(str(folder)).files) == 8
    read_index(make_config(root / "polyps").data).write_manifest(
        workspace.get_splits_dir() / "clean.csv"
    )
    assert find_sources(str(workspace.get_splits_dir() / "clean.csv")).is_split
    write_classes(workspace.get_runs_dir() / "polyps")
    with pytest.raises(AccessError):
        find_sources(str(workspace.get_runs_dir() / "polyps"))


def test_the_refusal_is_the_same_whether_or_not_there_is_something(root, tmp_path):
    said = []
    for name in ("secret", "nowhere"):
        with pytest.raises(AccessError) as caught:
            find_sources(str(tmp_path / name))
        said.append(str(caught.value).replace(name, "…"))
    assert said[0] == said[1]


def test_the_refusal_says_what_may_be_read_and_what_was_asked(root):
    with pytest.raises(AccessError) as caught:
        find_sources("/etc")
    assert str(root.resolve()) in str(caught.value)
    assert "Received: '/etc'" in str(caught.value)


@pytest.mark.parametrize("text", NETWORK)
def test_a_link_never_names_another_computer_even_without_roots(text):
    with pytest.raises(AccessError, match="another computer"):
        access.check_text(text)


@pytest.mark.parametrize(
    "text",
    ["/data/polyps", "polyps", r"C:\polyps", "~/polyps", "", "\\x", "/?/x", "/???/x", "??/x"],
)
def test_a_link_may_name_a_folder_of_this_computer(text):
    access.check_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", False), ("0", False), ("no", False), ("False", False), ("1", True), ("true", True),
     ("yes", True), ("what", True), (" 1 ", True)],
)  # fmt: skip
def test_a_doubtful_word_makes_a_demo_rather_than_an_open_door(monkeypatch, text, expected):
    monkeypatch.setenv("POLYP_DEMO", text)
    assert access.is_demo() is expected


def test_who_may_come_in_is_told_in_small_letters(monkeypatch):
    assert access.list_users() is None
    monkeypatch.setenv("POLYP_USERS", " Ann@Clinic.org, bob@clinic.org ,")
    assert access.list_users() == ["ann@clinic.org", "bob@clinic.org"]
    monkeypatch.setenv("POLYP_USERS", " , ")
    assert access.list_users() == []  # nobody, and not everybody


def test_a_demo_reads_the_demo_images_alone(demo, tmp_path, data_dir):
    write_classes(workspace.get_demo_data_dir())
    assert len(find_sources(str(workspace.get_demo_data_dir())).files) == 20
    for text in (str(data_dir), "/etc", f"{workspace.get_demo_data_dir()}/../../data"):
        with pytest.raises(AccessError, match="shared demo"):
            find_sources(text)


def test_a_demo_opens_no_folder_that_is_asked_for_but_shows_what_the_owner_allows(
    demo, root, tmp_path
):
    with pytest.raises(AccessError, match="shared demo"):
        access.check_folder(root / "polyps")
    image = root / "polyps" / "calcified" / "patient-01_0.png"
    assert access.check_file(image) == image.resolve()
    with pytest.raises(AccessError):
        access.check_file(tmp_path / "secret" / "calcified" / "patient-01_0.png")


def list_writers(data_dir: Path, run: Run, places: Path) -> dict[str, Callable[[], object]]:
    """Everything that a page can ask for and that writes or starts something."""
    index, config = read_index(make_config(data_dir).data), make_config(data_dir)
    study = Study(places / "study")
    zip_path, target = places / "a.zip", places / "imports"
    decided = decision.read_decision(run)
    return {
        "start a run": lambda: jobs.start_run(config, index, places),
        "prepare a search": lambda: jobs.prepare_run(config, index, places, task="find-rate"),
        "start a worker": lambda: jobs.start_worker(run),
        "stop": lambda: jobs.stop_run(run),
        "finish": lambda: jobs.finish_run(run),
        "resume": lambda: jobs.resume_run(run, accept_changes=True),
        "delete": lambda: jobs.delete_run(run),
        "start a study": lambda: study_jobs.start_study(
            config, index, places, num_folds=2, num_seeds=1
        ),
        "stop a study": lambda: study_jobs.stop_study(study),
        "resume a study": lambda: study_jobs.resume_study(study),
        "start a test": lambda: evaluation_jobs.start_evaluation(run, str(data_dir)),
        "start checks": lambda: evaluation_jobs.start_checks(run),
        "restart a test": lambda: evaluation_jobs.restart_evaluation(run),
        "stop a test": lambda: evaluation_jobs.stop_evaluation(run),
        "delete a test": lambda: evaluation_jobs.delete_evaluation(run),
        "keep a threshold": lambda: decision.write_decision(run, decided),
        "mark": lambda: reviews.change_review(run.directory, ("a", 0), is_label_wrong=True),
        "name": lambda: run.write_notes("a", "b"),
        "queue": lambda: queueing.move_run(places / "queue", run, earlier=True),
        "import a zip": lambda: importing.import_zip(zip_path, "a.zip", target),
        "import a folder": lambda: importing.import_files(
            [("a/b.png", io.BytesIO(b"x"))], "a", target
        ),
        "split": lambda: index.write_manifest(places / "splits" / "a.csv"),
        "a process": lambda: start_process("polyp_core.worker", run.directory),
        "a folder": lambda: make_directory(places, "new", "new", "run"),
        "a manifest": lambda: manifest.write_manifest(places / "m.csv", data_dir, []),
    }


NAMES = [
    "start a run", "prepare a search", "start a worker", "stop", "finish", "resume", "delete",
    "start a study", "stop a study", "resume a study", "start a test", "start checks",
    "restart a test", "stop a test", "delete a test", "keep a threshold", "mark", "name", "queue",
    "import a zip", "import a folder", "split", "a process", "a folder", "a manifest",
]  # fmt: skip


def list_files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_refuses_every_writer_before_it_touches_anything(
    name, finished_run, data_dir, tmp_path, monkeypatch
):
    places = tmp_path / "places"
    places.mkdir()
    with zipfile.ZipFile(places / "a.zip", "w") as archive:
        archive.write(data_dir / "calcified" / "patient-01_0.png", "a/patient-01_0.png")
    writers = list_writers(data_dir, finished_run, places)
    assert list(writers) == NAMES
    before = list_files(tmp_path), list_files(finished_run.directory)
    monkeypatch.setenv("POLYP_DEMO", "1")
    with pytest.raises(AccessError, match=r"off on this shared demo.*README"):
        writers[name]()
    assert (list_files(tmp_path), list_files(finished_run.directory)) == before


def test_looking_at_the_queue_of_a_demo_throws_no_ticket_away(demo, tmp_path):
    queue_dir = workspace.get_queue_dir()
    queue_dir.mkdir(parents=True)
    (queue_dir / "damaged.json").write_text("no ticket")
    assert queueing.list_tickets(queue_dir) == []
    assert (queue_dir / "damaged.json").is_file()


def test_a_demo_draws_its_own_images(demo, monkeypatch):
    monkeypatch.setattr(
        workspace, "write_demo_data",
        lambda folder, on_progress: write_image(folder / "a.png", is_bright_spot=True, seed=0),
    )  # fmt: skip
    assert (workspace.ensure_demo_data() / "a.png").is_file()
