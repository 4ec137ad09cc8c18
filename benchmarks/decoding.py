"""What it costs to decode in a child: `python -m benchmarks.decoding`.

Pictures made on the spot, warm, decoded in turns in this process and in a child:

- in process, in a child: median milliseconds
- overhead: median of the differences of calls that follow each other; it swings with what else
  the machine does, so the least and the processor's own share stand beside it
- CPU: processor time of parent and child together, less that in process

Then what starting costs, the memory of a child that has nothing to do, twenty threads at once, and
with `--largest` whether the largest pictures allowed stay within the limits: seconds, and the peak
of the child's address space. Memory is read from /proc: Linux only.
"""

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from polyp_core.dicom import MAX_PIXELS
from polyp_core.errors import ImageError
from polyp_core.images import decode_picture
from polyp_core.safe_decoding import MEMORY_LIMIT_MB, TIME_LIMIT_S, DecoderPool

_NUM_THREADS = 20


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--largest", action="store_true")
    options = parser.parse_args()
    load = psutil.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f}\n")
    files = make_files()
    print_overhead(files, options.repeats)
    print_starts(files, options.starts)
    print_threads(files, options.repeats)
    if options.largest:
        print_largest()


def make_files() -> dict[str, bytes]:
    """Pictures with the grain of an ultrasound image, as files."""
    grain = np.random.default_rng(0).gamma(2.0, 30.0, (1000, 1000, 3)).clip(0, 255)
    pixels = np.asarray(Image.fromarray(grain.astype(np.uint8)).resize((2000, 2000)))
    grey = np.ascontiguousarray(pixels[:300, :300, 0])
    colour = np.ascontiguousarray(pixels[:800, :1000])
    return {
        "300 × 300 PNG, grey": save(grey, "PNG"),
        "300 × 300 PNG, RGB": save(np.ascontiguousarray(pixels[:300, :300]), "PNG"),
        "1000 × 800 JPEG, RGB": save(colour, "JPEG"),
        "1000 × 800 PNG, RGB": save(colour, "PNG"),
        "1000 × 800 DICOM, grey": write_dicom(np.ascontiguousarray(colour[..., 0])),
        "2000 × 2000 JPEG, RGB": save(pixels, "JPEG"),
    }


def save(pixels: np.ndarray, kind: str, **settings: int) -> bytes:
    """A picture as a file of a kind that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


def write_dicom(pixels: np.ndarray) -> bytes:
    """An uncompressed DICOM file around `(height, width)` or `(height, width, 3)` pixels."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.6.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.PixelRepresentation = dataset.PlanarConfiguration = 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def print_overhead(files: dict[str, bytes], repeats: int) -> None:
    """One row a file."""
    print("| | in process, ms | in a child, ms | overhead, ms | least, ms | CPU, ms |")
    print("|---|" + "---:|" * 5)
    pool = DecoderPool(size=1)
    for title, data in files.items():
        ours: list[float] = []
        theirs: list[float] = []
        pool.decode(data, "a")
        child = find_child()
        own_ms, before_ms = 0.0, 1e3 * (get_cpu_s(child) + time.process_time())
        for _ in range(repeats):
            started_s = time.process_time()
            ours.append(measure(partial(decode_picture, data, "a")))
            own_ms += 1e3 * (time.process_time() - started_s)
            theirs.append(measure(partial(pool.decode, data, "a")))
        all_ms = 1e3 * (get_cpu_s(child) + time.process_time()) - before_ms
        differences = [b - a for a, b in zip(ours, theirs, strict=True)]
        print(
            f"| {title} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | "
            f"{statistics.median(differences):.2f} | {min(theirs) - min(ours):.2f} | "
            f"{(all_ms - 2 * own_ms) / repeats:.2f} |",
            flush=True,
        )
    pool.close()


def measure(work: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    started = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - started)


def find_child() -> psutil.Process:
    """The one decoding process."""
    (child,) = psutil.Process().children()
    return child


def get_cpu_s(process: psutil.Process) -> float:
    """Processor time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def print_starts(files: dict[str, bytes], num_starts: int) -> None:
    """What the first call, the first picture and the first DICOM file take, and hold."""
    picture, film = files["300 × 300 PNG, grey"], files["1000 × 800 DICOM, grey"]
    rows: list[list[float]] = []
    for _ in range(num_starts):
        pool = DecoderPool(size=1)
        warm_ms = measure(pool.warm)
        first_ms = measure(partial(pool.decode, picture, "a"))
        child = find_child()
        plain_mb = child.memory_info().rss / 2**20
        dicom_ms = measure(partial(pool.decode, film, "a"))
        rows.append([warm_ms, first_ms, dicom_ms, plain_mb, child.memory_info().rss / 2**20])
        pool.close()
    names = ("warm_decoder(), ms", "first picture right after it, ms", "first DICOM file, ms",
             "memory of an idle child, MB", "the same after DICOM, MB")  # fmt: skip
    print("\n| a cold start | median |\n|---|---:|")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        print(f"| {name} | {statistics.median(values):.0f} |", flush=True)


def print_threads(files: dict[str, bytes], num_pictures: int) -> None:
    """Pictures a second when many ask at once, and how long the unluckiest waits."""
    data = files["1000 × 800 JPEG, RGB"]
    pool = DecoderPool()
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        list(threads.map(lambda _: pool.decode(data, "a"), range(_NUM_THREADS)))
        started = time.perf_counter()
        work = lambda _: measure(lambda: pool.decode(data, "a"))  # noqa: E731
        times = list(threads.map(work, range(num_pictures)))
        rate = num_pictures / (time.perf_counter() - started)
    memory_mb = sum(child.memory_info().rss for child in psutil.Process().children()) / 2**20
    print(f"\n{_NUM_THREADS} threads, 1000 × 800 JPEG: {rate:.0f} pictures a second, longest wait "
          f"{max(times):.0f} ms, children {memory_mb:.0f} MB", flush=True)  # fmt: skip
    pool.close()


def print_largest() -> None:
    """Whether pictures of the most pixels allowed stay within the limits."""
    shape = MAX_PIXELS // 8000, 8000
    coarse = np.random.default_rng(0).integers(0, 256, (shape[0] // 8, 1000, 4))
    rgba = coarse.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    rgb, wide = np.ascontiguousarray(rgba[..., :3]), rgba[..., 0].astype(np.uint16) * 257
    makers: dict[str, Callable[[], bytes]] = {
        "PNG, RGBA": lambda: save(rgba, "PNG", compress_level=1),
        "PNG, 16 bit": lambda: save(wide, "PNG", compress_level=1),
        "JPEG, RGB": lambda: save(rgb, "JPEG"),
        "TIFF, RGBA": lambda: save(rgba, "TIFF"),
        "BMP, RGB": lambda: save(rgb, "BMP"),
        "DICOM, 16 bit": lambda: write_dicom(wide),
        "DICOM, RGB": lambda: write_dicom(rgb),
        "DICOM, RGB 16 bit": lambda: write_dicom(rgb.astype(np.uint16) * 257),
    }
    print(f"\n| {MAX_PIXELS // 1_000_000} million pixels | file, MB | s (of {TIME_LIMIT_S:g}) | "
          f"peak, MB (of {MEMORY_LIMIT_MB}) | |\n|---|---:|---:|---:|---|")  # fmt: skip
    for title, make in makers.items():
        data, said = make(), "decoded"
        pool = DecoderPool(size=1, time_limit_s=100)
        pool.decode(save(rgb[:8, :8], "PNG"), "a")
        path = Path(f"/proc/{find_child().pid}/status")
        started = time.perf_counter()
        try:
            pool.decode(data, title)
            peak_kb = int(path.read_text().split("VmPeak:")[1].split()[0])
        except ImageError as error:
            peak_kb, said = 0, str(error)
        seconds = time.perf_counter() - started
        print(f"| {title} | {len(data) >> 20} | {seconds:.1f} | {peak_kb >> 10} | {said} |",
              flush=True)  # fmt: skip
        pool.close()


if __name__ == "__main__":
    main()
