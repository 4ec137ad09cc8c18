"""Folders of images that were used here before, to be taken instead of typed again."""

from contextlib import suppress

from polyp_core import workspace
from polyp_core.access import check_folder
from polyp_core.errors import PolypError, RunError
from polyp_core.runs import Run
from polyp_core.study import Study, list_studies
from polyp_core.summaries import list_summaries

_NUM_LOOKED_AT = 50
_NUM_OFFERED = 10


def list_known_folders(left_out: str) -> list[str]:
    """Folders and manifests of runs, the newest first, of studies, and imported ones.

    Args:
        left_out: One that is not wanted.

    Returns:
        At most ten, of those that are still there and may be read; the demo images come last.
    """
    runs_dir, imports = workspace.get_runs_dir(), workspace.get_imports_dir()
    runs = [Run(runs_dir / name) for name in list_summaries(runs_dir)["name"]]
    studies = list_studies(workspace.get_studies_dir())
    found, demo = [], str(workspace.get_demo_data_dir().absolute())
    looked_at: list[Run | Study] = [*runs[:_NUM_LOOKED_AT], *studies[:_NUM_LOOKED_AT]]
    for one in looked_at:
        with suppress(RunError):
            found.append(str(one.read_config().data.folder))
    if imports.is_dir():
        found += [str(path.absolute()) for path in sorted(imports.iterdir())]
    own = [path for path in dict.fromkeys(found) if path not in (demo, left_out, "")]
    known = [path for path in own if _may_be_read(path)][:_NUM_OFFERED]
    return known + [demo] * (workspace.has_demo_data() and demo != left_out)


def _may_be_read(path: str) -> bool:
    try:
        return check_folder(path).exists()
    except (PolypError, OSError, RuntimeError, ValueError):
        return False
