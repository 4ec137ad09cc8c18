"""Folders of images that were used here before, to be taken instead of typed again."""

from contextlib import suppress
from itertools import islice

from polyp_core import workspace
from polyp_core.access import check_folder, leads_to_network
from polyp_core.errors import PolypError, RunError
from polyp_core.runs import Run
from polyp_core.study import Study, list_studies
from polyp_core.summaries import list_summaries

_NUM_LOOKED_AT = 50
_NUM_OFFERED = 10


def list_known_folders(*left_out: str) -> list[str]:
    """Imported folders, then folders and manifests of runs and of studies, each the newest first.

    Args:
        left_out: Those that are not wanted.

    Returns:
        At most ten that are still there and may be read, none of them on another computer, which
        might not answer; and last the demo images, once they are drawn.
    """
    runs_dir, demo = workspace.get_runs_dir(), str(workspace.get_demo_data_dir().absolute())
    runs = [Run(runs_dir / name) for name in list_summaries(runs_dir)["name"][:_NUM_LOOKED_AT]]
    studies = list_studies(workspace.get_studies_dir())[:_NUM_LOOKED_AT]
    found, used_in = _list_imported(), list[Run | Study]([*runs, *studies])
    for one in used_in:
        with suppress(RunError):
            found.append(str(one.read_config().data.folder))
    own = [path for path in dict.fromkeys(found) if path not in (demo, "", *left_out)]
    known = list(islice(filter(_may_be_read, own), _NUM_OFFERED))
    return known + [demo] * (workspace.has_demo_data() and demo not in left_out)


def _list_imported() -> list[str]:
    """Whole ones: a name with a dot before it is of one that is being copied."""
    with suppress(OSError):
        inside = [path for path in workspace.get_imports_dir().iterdir() if path.is_dir()]
        whole = [path for path in inside if not path.name.startswith(".")]
        whole.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        return [str(path.absolute()) for path in whole]
    return []


def _may_be_read(path: str) -> bool:
    try:
        return not leads_to_network(path) and check_folder(path).exists()
    except (PolypError, OSError, RuntimeError, ValueError):
        return False
