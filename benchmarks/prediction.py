"""How fast predictions are: `python -m benchmarks.prediction`, with the demo model.

- first answer: a fresh process each time: the imports of the predict page without Streamlit's own,
  opening the model, and one image; then the same with the server's start beside it
- one image: what the server does with it, in parts: decoding; cutting and fitting it; LiteRT alone;
  judging whether it is familiar; and what is left over, the answer itself
- a thousand files: `classify_files` beside its bound, which decodes the same files and invokes a
  bare LiteRT interpreter on a ready image, in as many threads; and beside other ways to run the
  same network on the files decoded and fitted by our own functions. "Unjudged" is ours without
  asking whether the images are familiar, which is what the others do. For these, two threads decode
  and fit ahead of the network, which has threads of its own: more than ours, never fewer.

ONNX Runtime is measured where `--onnx PYTHON` names the interpreter of an environment with
onnxruntime, tf2onnx and this project's requirements. What is compared takes turns, so that a busy
machine hurts all alike; quote the ratios, those of the processor's time first: each is the median
of what stands beside each other in one turn.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from polyp_core.images import decode_picture, find_box, fit_image
from polyp_core.phantom import draw_parameters, render_phantom
from polyp_core.prediction import Classifier, classify_files, load_classifier
from polyp_core.region import crop_region
from polyp_core.workspace import DEMO_RUN

Times = dict[str, list[tuple[float, float]]]  # of each way: s passed, and of the processor
_ROOT = Path(__file__).parents[1]
_NUM_THREADS = 2
_FIRST = """
import json, sys, time
from pathlib import Path
times, started = {}, time.perf_counter()
def note(name):
    global started
    times[name] = time.perf_counter() - started
    started = time.perf_counter()
from polyp_core.prediction import load_classifier
from polyp_core.workspace import DEMO_RUN
note("imports")
classifier = load_classifier(DEMO_RUN)
note("opening the model")
classifier.classify(Path(sys.argv[1]))
note("first image")
classifier.classify(Path(sys.argv[1]))
note("second image")
print(json.dumps(times))
"""
_OTHER = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
import numpy as np
from polyp_core.images import decode_picture, prepare_picture
from polyp_core.workspace import DEMO_RUN
kind, batch, num_threads, model_path, folder, suffix = sys.argv[1:]
config = DEMO_RUN.read_config()
if kind == "keras":
    from polyp_core.models import build_model
    model = build_model(config.model)  # new weights take as long as learnt ones
    predict = lambda images: model.predict(images, verbose=0)
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(num_threads)
    session = onnxruntime.InferenceSession(model_path, options)
    name = session.get_inputs()[0].name
    predict = lambda images: session.run(None, {name: images})
paths, batch = sorted(Path(folder).glob("*" + suffix)), int(batch)
def load(path):
    return prepare_picture(decode_picture(path), config.data, config.model)
def work(paths):
    with ThreadPoolExecutor(int(num_threads)) as pool:
        images = pool.map(load, paths)
        while part := list(islice(images, batch)):
            predict(np.stack(part).astype(np.float32))
work(paths[: 2 * batch])
started, worked = time.perf_counter(), time.process_time()
work(paths)
print(json.dumps([time.perf_counter() - started, time.process_time() - worked]))
"""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--parts", nargs="*", default=["first", "one", "many"])
    parser.add_argument("--no-keras", action="store_true", help="TensorFlow takes long to start")
    parser.add_argument("--onnx", metavar="PYTHON")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n", flush=True)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text, "images")
        write_images(folder, options.images)
        if "first" in options.parts:
            measure_first(folder / "0000.png", options.turns, Path(text))
        if "one" in options.parts:
            measure_one(folder)
        if "many" in options.parts:
            model = convert_to_onnx(options.onnx, Path(text, "model.onnx")) if options.onnx else ""
            for suffix in (".png", ".jpg"):
                measure_many(folder, suffix, options, model)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def write_images(folder: Path, num_images: int) -> None:
    """Phantoms of 300 × 300 as PNG and JPEG, each of forty under many names, and two large ones."""
    folder.mkdir()
    scans = [render_phantom(draw_parameters(0, patient, 1)) for patient in range(1, 41)]
    for number, (suffix, size) in product(range(40), ((".png", 300), (".jpg", 300))):
        picture = Image.fromarray(scans[number]).resize((size, size))
        picture.save(folder / f"{number:04}{suffix}")
        for again in range(number + 40, num_images, 40):
            os.link(folder / f"{number:04}{suffix}", folder / f"{again:04}{suffix}")
    screen = np.full((768, 1024, 3), 12, np.uint8)
    screen[80:720, 150:870] = np.array(Image.fromarray(scans[0]).resize((720, 640)))[..., None]
    Image.fromarray(screen).save(folder / "screen.bmp")  # of no suffix that is counted
    Image.fromarray(screen).save(folder / "screen.png.large", "PNG")


def measure_first(path: Path, num_turns: int, folder: Path) -> None:
    """Fresh processes: until the first answer, and until a server can be asked."""
    rows: list[dict[str, float]] = []
    for turn in range(num_turns):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _FIRST, str(path)],
            cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True,
        )  # fmt: skip
        times: dict[str, float] = json.loads(done.stdout)
        times["whole process"] = time.perf_counter() - started
        rows.append(times | {"server: until it is healthy": start_server(folder / f"{turn}")})
    print(f"**First answer in a fresh process** (s, {num_turns} turns)\n")
    print("| | median | min | max |\n|---|---:|---:|---:|")
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} "
              f"| {max(values):.3f} |")  # fmt: skip
    print(flush=True)


def start_server(workspace: Path) -> float:
    """Seconds from starting the app's server until it answers that it is healthy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}",
         "--server.headless=true"],
        cwd=_ROOT, env=os.environ | {"POLYP_WORKSPACE": str(workspace)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while time.perf_counter() - started < 120:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                    return time.perf_counter() - started
            except OSError:
                time.sleep(0.02)
        raise SystemExit("The server did not start within two minutes.")
    finally:
        process.terminate()
        process.wait(timeout=20)


def measure_one(folder: Path, num_times: int = 100) -> None:
    """The parts of one warm answer, for files of several kinds."""
    plain = load_classifier(DEMO_RUN)
    data = replace(plain.config.data, region="automatic")
    cutting = replace(plain, config=replace(plain.config, data=data))
    print(f"**One image, warm** (ms, medians of {num_times}; of the processor in brackets)\n")
    print("| | decoding | cut and fit | LiteRT | familiarity | rest | whole | ours |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, path, classifier in (
        ("PNG 300 × 300", folder / "0000.png", plain),
        ("JPEG 300 × 300", folder / "0000.jpg", plain),
        ("PNG 1024 × 768 RGB, region found", folder / "screen.png.large", cutting),
        ("BMP 1024 × 768 RGB, region found", folder / "screen.bmp", cutting),
    ):
        rows = [measure_parts(classifier, path.read_bytes()) for _ in range(num_times)]
        passed, used = np.median(rows[num_times // 10 :], axis=0).T * 1000
        cells = [f"{a:.2f} ({b:.2f})" for a, b in zip(passed, used, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    judged = "" if plain.familiarity is not None else "; this model keeps no training images' facts"
    print(f'\n"Ours" is all but decoding and LiteRT{judged}.\n', flush=True)


def measure_parts(classifier: Classifier, data: bytes) -> np.ndarray:
    """Of each part: s passed, s of this thread's processor. `(7, 2)`."""
    times = [read_clocks()]

    def note() -> None:
        times.append(read_clocks())

    predictor, model = classifier.predictor, classifier.config.model
    picture = decode_picture(data)
    note()
    box = find_box(picture, classifier.config.data)
    seen = fit_image(crop_region(picture.pixels, box), model.image_size_px, model.channels)
    note()
    examined = predictor.examine(seen)
    note()
    if classifier.familiarity is not None and examined.features is not None:
        classifier.familiarity.judge(picture, box, seen, examined.features)
    note()
    classifier.classify(data, "a.png")
    note()
    decoding, fitting, litert, familiarity, whole = np.diff(times, axis=0)
    rest = whole - decoding - fitting - litert - familiarity
    return np.stack([decoding, fitting, litert, familiarity, rest, whole,
                     whole - decoding - litert])  # fmt: skip


def read_clocks() -> tuple[float, float]:
    """Seconds passed, and of the processor in this thread."""
    return time.perf_counter(), time.thread_time()


def measure_many(folder: Path, suffix: str, options: argparse.Namespace, onnx_model: str) -> None:
    """A thousand files in every way, taking turns."""
    paths = sorted(folder.glob(f"*{suffix}"))
    classifier = load_classifier(DEMO_RUN)
    unjudged = replace(classifier, familiarity=None)
    interpreters = [make_bare() for _ in range(_NUM_THREADS)]
    ways: dict[str, Callable[[], object]] = {
        "bound": lambda: work_bare(classifier, interpreters, paths),
        "ours": lambda: list(classify_files(classifier, paths, _NUM_THREADS)),
        "ours, unjudged": lambda: list(classify_files(unjudged, paths, _NUM_THREADS)),
    }
    others = {"ONNX Runtime": (options.onnx, "onnx", 1)} if onnx_model else {}
    if not options.no_keras:
        others |= {f"Keras predict, batch {n}": (sys.executable, "keras", n) for n in (32, 1)}
    times: Times = {name: [] for name in (*ways, *others)}
    for turn in range(options.turns):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            started, worked = time.perf_counter(), time.process_time()
            ways[name]()
            times[name].append((time.perf_counter() - started, time.process_time() - worked))
        for name, (python, kind, batch) in others.items():
            command = [python, "-c", _OTHER, kind, str(batch), str(_NUM_THREADS), onnx_model,
                       str(folder), suffix]  # fmt: skip
            done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True, text=True,
                                  stderr=subprocess.DEVNULL)  # fmt: skip
            passed, used = json.loads(done.stdout.strip().splitlines()[-1])
            times[name].append((passed, used))
    print_many(f"{len(paths):,} files {suffix}, {_NUM_THREADS} threads", times, len(paths))
    if not onnx_model:
        print("\nONNX Runtime: not installed (--onnx).")
    print(flush=True)


def make_bare() -> Interpreter:
    """An interpreter of the demo model that uses one core."""
    content = DEMO_RUN.path("serving.tflite").read_bytes()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def work_bare(classifier: Classifier, interpreters: list[Interpreter], paths: list[Path]) -> None:
    """Decode every file and invoke a bare interpreter on a ready image, in a thread each."""
    model = classifier.config.model
    ready = fit_image(decode_picture(paths[0]).pixels, model.image_size_px, model.channels)
    image = ready[np.newaxis].astype(np.float32)
    rest, taking = iter(paths), threading.Lock()

    def work(interpreter: Interpreter) -> None:
        place = interpreter.get_input_details()[0]["index"]
        for path in take(rest, taking):
            decode_picture(path)
            interpreter.set_tensor(place, image)
            interpreter.invoke()

    threads = [threading.Thread(target=work, args=(each,)) for each in interpreters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def take(rest: Iterator[Path], taking: threading.Lock) -> Iterator[Path]:
    """What is left, shared between threads."""
    while True:
        with taking:
            path = next(rest, None)
        if path is None:
            return
        yield path


def print_many(title: str, times: Times, num_images: int) -> None:
    """Images a second, and both ratios to the bound."""
    print(f"**{title}** (medians of {len(times['bound'])} turns; 1 is the bound)\n")
    print("| | images/s | ratio | processor ms an image | ratio of processor time |")
    print("|---|---:|---:|---:|---:|")
    for name, found in times.items():
        passed, used = (statistics.median(column) for column in zip(*found, strict=True))
        ratios = [
            statistics.median(
                bound[clock] / own[clock] for bound, own in zip(times["bound"], found, strict=True)
            )
            for clock in (0, 1)
        ]
        print(f"| {name} | {num_images / passed:.0f} | {ratios[0]:.2f} "
              f"| {1000 * used / num_images:.2f} | {ratios[1]:.2f} |")  # fmt: skip


def convert_to_onnx(python: str, path: Path) -> str:
    """The same LiteRT file as ONNX; "" where it cannot be made."""
    done = subprocess.run(
        [python, "-m", "tf2onnx.convert", "--tflite", str(DEMO_RUN.path("serving.tflite")),
         "--output", str(path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"ONNX cannot be made: {done.stderr.strip().splitlines()[-1]}\n")
        return ""
    return str(path)


if __name__ == "__main__":
    main()
