"""Whatever opens a stranger's file is fed what no honest program writes: does anything else than a
`PolypError` come out?

Run it as `python -m benchmarks.fuzz --inputs 100000`, with `--target NAME` for one target alone.
Targets are pictures, DICOM files, zips (unpacked, or taken in memory), manifests, settings (JSON
and `section.key=value`), the files of a run folder, and those of a run that is taken over from
another machine. Each is tried in a process of its own, with limits of time (5 s of the
processor an input) and memory (2 GiB beside what it holds at the start); warnings count as
errors. An input that breaks is written to a folder with its traceback, and the rest goes on.

Inputs are valid files with a few changes: of bytes, of JSON values, of cells, of DICOM elements and
zip entries. With atheris (`pip install -r requirements-fuzz.txt`) those that take a new way through
our code, pydicom's or Pillow's Python are changed further; without it all changes are drawn from
the seed alone, so the same seed tries the same inputs. Linux.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from benchmarks.fuzzing.journal import Journal
from benchmarks.fuzzing.runner import TIME_LIMIT_S, keep_find

# How the inputs are divided among the targets, in parts of a hundred.
SHARES = {
    "image": 24, "dicom": 24, "zip": 8, "intake": 8, "manifest": 10, "config": 8, "settings": 5,
    "run": 8, "bundle": 5,
}  # fmt: skip
_LOOK_EVERY_S = 0.1
_LONGEST_START_S = 900.0  # atheris rewrites a few hundred modules first
_LONGEST_WAIT_S = 120.0  # for an input that uses no processor
_MOST_KILLS = 50  # of one target, before it is given up


@dataclass(kw_only=True)
class Row:
    """What came of one target."""

    target: str
    inputs: int = 0
    refused: int = 0
    broken: int = 0
    slowest_us: int = 0
    peak_mb: int = 0


def main() -> None:
    """Print a table of the targets; end with 1 if anything broke."""
    has_atheris = find_spec("atheris") is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--target", choices=list(SHARES), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--finds", type=Path, default=Path("workspace/fuzzing-finds"), metavar="FOLDER"
    )
    parser.add_argument(
        "--engine", choices=("atheris", "mutator"), default="atheris" if has_atheris else "mutator"
    )
    options = parser.parse_args()
    names = options.target or list(SHARES)
    started = time.time()
    whole = sum(SHARES[name] for name in names)
    if options.engine == "mutator" and not has_atheris:
        print("atheris is not installed: inputs are drawn from the seed alone.\n", flush=True)
    print("| Target | Engine | Inputs | Refused | Accepted | Broken | Slowest, ms | Peak, MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    rows = []
    for name in names:
        count = max(1, round(options.inputs * SHARES[name] / whole))
        row = fuzz_target(name, options.engine, count, options.seed, options.finds)
        accepted = row.inputs - row.refused - row.broken
        print(
            f"| {name} | {options.engine} | {row.inputs:,} | {row.refused:,} | {accepted:,} "
            f"| {row.broken:,} | {row.slowest_us / 1000:.0f} | {row.peak_mb:,} |",
            flush=True,
        )
        rows.append(row)
    num_broken = sum(row.broken for row in rows)
    print(f"\n{sum(row.inputs for row in rows):,} inputs, {num_broken:,} of them broke something.")
    if num_broken:
        found = [path for path in options.finds.glob("*.txt") if path.stat().st_mtime >= started]
        kinds = {path.read_text().partition("\n")[0] for path in found}
        print(f"What broke lies in '{options.finds}', each with its traceback:")
        print("\n".join(f"- {kind}" for kind in sorted(kinds)))
    sys.exit(1 if num_broken else 0)


def fuzz_target(name: str, engine: str, num_inputs: int, seed: int, finds: Path) -> Row:
    """Try so many inputs on a target, in as many processes as it takes."""
    row = Row(target=name)
    for _ in range(_MOST_KILLS):
        with tempfile.TemporaryDirectory(prefix="polyp-fuzz-") as text:
            work = Path(text)
            journal = Journal(work / "journal")
            command = [
                sys.executable, "-m", "benchmarks.fuzzing.runner", name, "--engine", engine,
                "--seed", str(seed), "--first", str(row.inputs),
                "--inputs", str(num_inputs - row.inputs),
                "--work", text, "--finds", str(finds.absolute()),
            ]  # fmt: skip
            with (work / "log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)
                how, peak_mb = watch(process, journal)
            started, ended, refused, broken, slowest_us = journal.read_counts()
            if not started:
                raise RuntimeError(f"'{name}' did not start:\n{(work / 'log').read_text()[-3000:]}")
            row.inputs += started
            row.refused += refused
            row.broken += broken
            row.slowest_us = max(row.slowest_us, slowest_us)
            row.peak_mb = max(row.peak_mb, peak_mb)
            if row.inputs < num_inputs or how:  # else it has ended as it should
                log_text = (work / "log").read_text(errors="replace")[-3000:]
                how = f"{how or 'It ended too early.'}\n\n{log_text}"
                if ended == started:  # between two inputs
                    raise RuntimeError(f"The process of '{name}' broke by itself. {how}")
                row.broken += 1
                keep_find(finds, name, journal.read_input(), how)
        if row.inputs >= num_inputs:
            break
    return row


def watch(process: subprocess.Popen[bytes], journal: Journal) -> tuple[str, int]:
    """Wait for a process, and kill it if it stays with one input for too long.

    Returns:
        How it was ended, or "" if by itself; its most memory in MB.
    """
    known = psutil.Process(process.pid)
    count, since_s, spent_s, how = -1, time.monotonic(), 0.0, ""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode and not how:
                how = f"The process ended with {process.returncode}."
            unit = 2**20 if sys.platform == "darwin" else 2**10
            return how, round(usage.ru_maxrss / unit)
        now = sum(known.cpu_times()[:2])
        started = journal.read_counts()[0]
        if started != count:
            count, since_s, spent_s = started, time.monotonic(), now
        waited_s = time.monotonic() - since_s
        is_long = count > 0 and now - spent_s > 2 * TIME_LIMIT_S
        most_s = _LONGEST_WAIT_S if count > 0 else _LONGEST_START_S
        if (is_long or waited_s > most_s) and not how:
            how = f"It was killed after {now - spent_s:.0f} s of the processor ({waited_s:.0f} s)."
            process.kill()
        time.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    main()
