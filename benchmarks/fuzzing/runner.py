"""The process that tries inputs on one target, started by `benchmarks.fuzz`.

It counts in a journal and writes what breaks to a folder. It may be killed at any moment.
"""

import argparse
import hashlib
import os
import resource
import time
import traceback
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import psutil

from benchmarks.fuzzing.journal import Journal
from benchmarks.fuzzing.mutation import MAX_BYTES

TIME_LIMIT_S = 5.0  # of the processor, an input
MEMORY_LIMIT_MB = 2048  # beside what the process holds before the first input
_MOST_KEPT = 3  # inputs of each kind of break
_ROOT = Path(__file__).parents[2]
# What is Python on the way of an input, so that atheris sees which way it takes.
_WATCHED = ["polyp_core", "pydicom", "PIL", "zipfile", "csv"]
_EARLY = (
    "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.BmpImagePlugin", "PIL.TiffImagePlugin",
    "PIL.WebPImagePlugin", "PIL.MpoImagePlugin", "pydicom.filereader", "pydicom.encaps",
    "pydicom.pixels", "pydicom.pixels.decoders.base", "pydicom.pixels.processing",
    "benchmarks.fuzzing.targets",
)  # fmt: skip


class Trial:
    """One target, tried with any number of inputs."""

    def __init__(self, targets: ModuleType, name: str, work: Path, finds: Path) -> None:
        self._targets, self._name, self._finds = targets, name, finds
        self.target = targets.TARGETS[name]
        scratch = work / "scratch"
        scratch.mkdir(exist_ok=True)
        self._check = self.target.open_check(scratch)
        self._journal = Journal(work / "journal")
        self._kinds: Counter[str] = Counter()
        self._refusal: type[Exception] = import_module("polyp_core.errors").PolypError

    def try_input(self, data: bytes) -> int:
        """Try one input; how many there have been."""
        number, found, is_refused = self._journal.start(data), "", False
        started = time.process_time()
        try:
            self._check(data)
        except KeyboardInterrupt:
            raise
        except self._refusal as error:
            is_refused = True
            found = self._find_fault(error)
        except BaseException:  # noqa: BLE001 - this is what is looked for
            found = traceback.format_exc()
        spent_s = time.process_time() - started
        if spent_s > TIME_LIMIT_S and not found:
            found = f"It took {spent_s:.1f} s. Expected at most {TIME_LIMIT_S:g} s."
        if found:
            self._keep(data, found)
        self._journal.end(
            is_refused=is_refused, is_broken=bool(found), time_us=round(spent_s * 1e6)
        )
        return number

    def _find_fault(self, error: Exception) -> str:
        try:
            self._targets.check_words(error)
        except (AssertionError, UnicodeError):
            return traceback.format_exc()
        return ""

    def _keep(self, data: bytes, found: str) -> None:
        kind = name_kind(found)
        self._kinds[kind] += 1
        if self._kinds[kind] <= _MOST_KEPT:
            keep_find(self._finds, self._name, data, f"{kind}\n\n{found}")


def name_kind(found: str) -> str:
    """The last line of ours in a traceback and the error, so that equal finds are counted once."""
    lines = [line.strip() for line in found.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith(f'File "{_ROOT}') and "/.venv" not in line]
    place = ours[-1].replace(f"{_ROOT}{os.sep}", "") if ours else ""
    return f"{lines[-1].partition(':')[0][:200]} {place}"


def keep_find(finds: Path, target: str, data: bytes, text: str) -> None:
    """Write an input that broke something, and how."""
    finds.mkdir(parents=True, exist_ok=True)
    name = f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    (finds / f"{name}.bin").write_bytes(data)
    (finds / f"{name}.txt").write_text(text, errors="backslashreplace")


def run_mutator(trial: Trial, name: str, seed: int, first: int, num_inputs: int) -> None:
    """Seeds, then changed seeds; input number n of a seed is always the same."""
    seeds = trial.target.make_seeds()
    for number in range(first, first + num_inputs):
        rng = Random(f"{seed} {name} {number}")
        is_seed = number < len(seeds)
        data = seeds[number] if is_seed else trial.target.mutate(rng.choice(seeds), rng, seeds)
        trial.try_input(data[:MAX_BYTES])


def run_atheris(trial: Trial, work: Path, seed: int, first: int, num_inputs: int) -> None:
    """Coverage guided: inputs that take a new way through the code are changed further."""
    atheris: Any = import_module("atheris")
    seeds = trial.target.make_seeds()
    corpus = work / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"{number}").write_bytes(data)

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        rng = Random(number)
        if rng.random() < 0.5:
            changed: bytes = atheris.Mutate(data, max_size)
            return changed
        return bytes(trial.target.mutate(data, rng, seeds)[:max_size])

    def try_input(data: bytes) -> None:
        if trial.try_input(bytes(data)) >= num_inputs:
            os._exit(0)  # libFuzzer has no other way to end in peace

    options = (
        f"-seed={seed * 1000 + first + 1}", f"-max_len={MAX_BYTES}", "-rss_limit_mb=0",
        "-timeout=600", "-len_control=0", f"-artifact_prefix={work}/", "-verbosity=0",
    )  # fmt: skip
    atheris.Setup(["fuzz", *options, str(corpus)], try_input, custom_mutator=mutate)
    atheris.Fuzz()


def load_targets(engine: str) -> ModuleType:
    """The targets; for atheris with everything that reads an input instrumented."""
    if engine == "atheris":
        atheris: Any = import_module("atheris")
        with atheris.instrument_imports(include=_WATCHED, enable_loader_override=False):
            for name in _EARLY:
                import_module(name)
    return import_module("benchmarks.fuzzing.targets")


def main() -> None:
    """Try inputs until there were enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--engine", choices=("atheris", "mutator"), required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--finds", type=Path, required=True)
    for name in ("--seed", "--first", "--inputs"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    trial = Trial(load_targets(options.engine), options.target, options.work, options.finds)
    limit = psutil.Process().memory_info().vms + MEMORY_LIMIT_MB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    if options.engine == "atheris":
        run_atheris(trial, options.work, options.seed, options.first, options.inputs)
    else:
        run_mutator(trial, options.target, options.seed, options.first, options.inputs)


if __name__ == "__main__":
    main()
