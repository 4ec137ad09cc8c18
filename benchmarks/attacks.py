"""What has been tried on others is brought in as a model: how soon is it refused, with how much?

Run it as `python -m benchmarks.attacks`. Each attack of tests/core/attack_files.py is given to
`model_import.import_run` in a process of its own. Measured are the time until the sentence, and
the peak memory of that process and of the child that looks at the weights, both together at the
worst. With `--sound` a run of the thesis' network comes in as well, which is the way that ends
well.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from polyp_core.errors import PolypError
from polyp_core.model_import import import_run
from tests.core.attack_files import ATTACKS, make_run_files

MOST_S, MOST_MB = 2.0, 500.0
_BUILD = (
    "from polyp_core.config import ModelConfig; from polyp_core.models import build_model; "
    "import sys; build_model(ModelConfig()).save(sys.argv[1])"
)


def main() -> int:
    """Print a table; 0 if everything was refused within the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sound", action="store_true", help="bring in a sound run as well")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(_try_one(options.one)))
        return 0
    print("| attack | refused after | memory of both processes | what is said |")
    print("|---|---|---|---|")
    num_failed = 0
    for number, attack in enumerate(ATTACKS):
        seconds, memory_mb, said = _measure(number)
        is_well = bool(said) and seconds < MOST_S and memory_mb < MOST_MB
        num_failed += not is_well
        said = (said or "**it came in**").split(". Expected")[0][:110].replace("|", "\\|")
        print(
            f"| {attack.name} | {seconds:.2f} s | {memory_mb:.0f} MB "
            f"| {said} |{'' if is_well else ' **too much**'}",
            flush=True,
        )
    print(f"\n{len(ATTACKS)} attacks, {num_failed} of them not refused within "
          f"{MOST_S:g} s and {MOST_MB:g} MB.")  # fmt: skip
    if options.sound:
        print(_bring_in_sound_run())
    return 1 if num_failed else 0


def _measure(number: int) -> tuple[float, float, str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attacks", "--one", str(number)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, memory_mb, said = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory_mb, said


def _try_one(number: int) -> tuple[float, float, str]:
    attack, said = ATTACKS[number], ""
    with tempfile.TemporaryDirectory() as text:
        source = attack.make(make_run_files(), Path(text))
        started = time.perf_counter()
        try:
            import_run(source, "evil", Path(text, "runs"))
        except PolypError as error:
            said = str(error)
        seconds = time.perf_counter() - started
    return seconds, _measure_peak_mb(), said


def _measure_peak_mb() -> float:
    """Of this process and of its largest child, as if both peaks came at once.

    That is the most it can be: Linux counts a child as large as its parent was when it began.
    """
    unit = 1024 if sys.platform == "darwin" else 1  # bytes there, KiB elsewhere
    peaks = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(peaks) / unit / 1024


def _bring_in_sound_run() -> str:
    files = make_run_files()
    values = json.loads(files["config.json"])
    del values["settings"]["model"]  # whose defaults are the thesis' own
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text, "run")
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "config.json").write_text(json.dumps(values))
        subprocess.run([sys.executable, "-c", _BUILD, str(folder / "model.keras")], check=True)
        started = time.perf_counter()
        run = import_run(folder, "sound", Path(text, "runs"))
        seconds = time.perf_counter() - started
        difference = run.read_serving()["largest_difference"]
    return (
        f"A sound run with the thesis' network (5.0 million weights) is in after {seconds:.1f} s; "
        f"memory of both processes {_measure_peak_mb():.0f} MB; its serving model differs from "
        f"Keras by {difference:.1g}."
    )


if __name__ == "__main__":
    sys.exit(main())
