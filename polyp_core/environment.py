"""What computes: versions and machine. Known without importing any of it."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polyp_core import __version__
from polyp_core.errors import RunError
from polyp_core.runs import Run

# Another version of one of these may change the last bit of a result.
PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "pillow")
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # TensorFlow's own switch, read as it is imported


def describe_environment() -> dict[str, Any]:
    """Versions, platform and number of processors."""
    return {
        "polyp_core": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _name_processor(),
        "processors": os.cpu_count(),
        "packages": {name: find_version(name) for name in PACKAGES},
    }


def count_threads(run: Run) -> int:
    """How many threads compute a run: sums depend on it to the last bit, so a resume keeps it."""
    known = run.read_environment().get("threads") or os.environ.get("TF_NUM_INTRAOP_THREADS")
    if known:
        return int(known)
    # Not all processors may be this process' own.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_onednn(run: Run) -> str:
    """The value of TensorFlow's switch for oneDNN in a run; "" leaves it to TensorFlow.

    TensorFlow itself switches it on only for x86 processors with AVX-512 VNNI or AMX, though others
    train faster with it too (`python -m benchmarks.onednn`). Sums depend on it to the last bit, so
    a resume keeps it; a run of an older version has it as the environment says.
    """
    then, chosen = run.read_environment(), os.environ.get(ONEDNN, "")
    if "onednn" in then:
        return str(then["onednn"])
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return "1" if is_x86 and not then and not chosen else chosen


def switch_onednn(run: Run) -> None:
    """Switch oneDNN as a run has it; to be called before TensorFlow is imported."""
    value = choose_onednn(run)
    os.environ.pop(ONEDNN, None)
    if value:
        os.environ[ONEDNN] = value


def list_changes(run: Run) -> list[str]:
    """What computes otherwise here than where a run was started, such as "keras 3.14 → 3.15"."""
    then, now = run.read_environment(), describe_environment()
    if not then:
        return []
    # Another processor has other instructions, and so other last bits.
    own = ("polyp_core", "processor")
    before = {name: then[name] for name in own if name in then} | then.get("packages", {})
    after = {name: now[name] for name in own} | now["packages"]
    return [
        f"{name} {before[name]} → {after[name]}"
        for name in after
        if name in before and before[name] != after[name]
    ]


def check_unchanged(run: Run) -> None:
    """Refuse what would not go on exactly.

    Raises:
        RunError: If another version would compute the rest of a run.
    """
    changes = list_changes(run)
    if changes:
        raise RunError(
            f"Run '{run.name}' was started with other versions ({', '.join(changes)}), so the rest "
            "might differ from an unbroken run. Expected the same. Go back to those, or resume all "
            "the same (--accept-changes): it is noted in the run's environment.json."
        )


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # elsewhere than on Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def find_version(package: str) -> str:
    """Of an installed package; "" without it. OpenCV, for one, is also had under other names."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
