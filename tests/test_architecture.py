"""The house rules that a machine can hold: who imports whom, and how large things grow."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Top to bottom: a module imports only from modules above it.
ORDER = [
    "errors", "files", "words", "access", "config", "presets", "network_size", "dicom",
    "region", "images", "decoding_worker", "safe_decoding", "annotations", "duplicates",
    "measures", "archives", "importing", "manifest", "layout", "scan", "splitting", "dataset",
    "intake", "recipe", "phantom", "imaging_effects", "augmentation", "clusters", "metrics",
    "calibration", "evidence", "audit", "schedules", "runs", "decision", "reviews", "history",
    "summaries", "study", "learning_curve", "workspace", "environment", "doctor", "queueing",
    "processes", "jobs", "study_jobs", "familiarity", "prediction", "answers", "evaluation",
    "neighbours", "checks", "evaluation_jobs", "image_store", "reporting", "evaluation_worker",
    "checkpoints", "weights", "origins", "checklists", "foreign_files", "report", "exports",
    # --- the heavy line: TensorFlow and Keras only below it ---
    "pipeline", "graph", "networks", "models", "training", "rate_finder", "serving", "worker",
    "model_import", "import_worker", "export_worker", "export_check", "study_cluster",
    "study_worker", "run_commands",
    "evaluation_commands", "study_commands", "import_commands", "prediction_commands",
    "export_commands", "report_commands",
    "__main__", "demo_model",
]  # fmt: skip
HEAVY = {
    "graph",
    "networks",
    "models",
    "training",
    "rate_finder",
    "serving",
    "worker",
    "study_worker",
    "import_worker",
    "export_worker",
    "export_check",
}
_BROAD = (
    "worker.py", "study_worker.py", "evaluation_worker.py", "networks.py", "decoding_worker.py",
    "import_worker.py",
)  # fmt: skip
CORE = sorted((ROOT / "polyp_core").rglob("*.py"))
SCREENS = [ROOT / "app.py", *(ROOT / "ui").glob("*.py"), *(ROOT / "pages").glob("*.py")]


def get_module(path: Path) -> str:
    return path.relative_to(ROOT / "polyp_core").parts[0].removesuffix(".py")


@cache
def list_nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def list_imports(path: Path) -> list[str]:
    names = []
    for node in list_nodes(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def list_roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in list_imports(path)}


def test_there_is_something_to_look_at():
    assert {"errors", "images", "worker"} < {get_module(path) for path in CORE}
    assert {"app.py", "charts.py", "train.py"} < {path.name for path in SCREENS}


def test_core_imports_only_from_above():
    assert not [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in CORE
        if (module := get_module(path)) not in ("__init__", "demo_run")
        for name in list_imports(path)
        if name.startswith("polyp_core.") and (target := name.split(".")[1]) in ORDER
        if ORDER.index(target) > ORDER.index(module)
    ]


def test_core_knows_no_screen_and_light_modules_no_tensorflow():
    faults = []
    for path in CORE:
        forbidden = {"streamlit", "plotly"}
        if get_module(path) not in HEAVY:
            forbidden |= {"keras", "tensorflow"}
        if get_module(path) in ("networks", "models", "training", "rate_finder"):
            forbidden |= {"tensorflow"}
        faults += [
            f"{path.relative_to(ROOT)} imports {root}" for root in list_roots(path) & forbidden
        ]
    assert not faults


def test_screens_never_import_what_is_heavy():
    heavy = {f"polyp_core.{module}" for module in HEAVY}
    faults = []
    for path in SCREENS:
        modules = {".".join(name.split(".")[:2]) for name in list_imports(path)}
        found = (list_roots(path) & {"keras", "tensorflow", "sklearn"}) | (modules & heavy)
        faults += [f"{path.relative_to(ROOT)} imports {name}" for name in found]
    assert not faults


def test_files_and_functions_stay_small():
    """A file seldom has over 300 lines."""
    faults = []
    for path in CORE + SCREENS:
        if (length := len(path.read_text().splitlines())) > 400:
            faults.append(f"{path.relative_to(ROOT)} has {length} lines")
        for node in list_nodes(path):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > 70:
                    faults.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert not faults


def test_only_the_workers_catch_everything():
    """And networks.py, since Keras raises a bare Exception where it cannot fetch weights."""
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in CORE + SCREENS
        if path.name not in _BROAD
        for node in list_nodes(path)
        if isinstance(node, ast.ExceptHandler)
        if node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
    ]


def test_every_module_of_the_core_has_its_tests():
    used = ("__init__", "errors", "demo_model")  # tested where they are used
    names = {path.stem for path in CORE if path.parent.name == "polyp_core"}.difference(used)
    names = {"cli" if name == "__main__" else name for name in names}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/core").glob("test_*.py")}
    assert names <= tests, names - tests
