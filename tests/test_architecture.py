"""The house rules that a machine can hold: who imports whom, and how large things grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Top to bottom: a module imports only from modules above it.
ORDER = [
    "errors", "files", "words", "access", "config", "presets", "network_size", "dicom",
    "region", "images", "decoding_worker", "safe_decoding", "annotations", "duplicates",
    "measures", "archives", "importing", "manifest", "layout", "scan", "splitting", "dataset",
    "intake", "recipe", "phantom", "imaging_effects", "augmentation", "metrics", "calibration",
    "evidence", "audit", "schedules", "runs", "decision", "reviews", "history", "summaries",
    "study", "learning_curve", "workspace", "environment", "doctor", "queueing", "processes",
    "jobs", "study_jobs", "familiarity", "prediction", "answers", "evaluation", "neighbours",
    "checks", "evaluation_jobs", "image_store", "reporting", "evaluation_worker", "checkpoints",
    "weights", "foreign_files", "origins", "checklists", "report", "exports",
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


def list_imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_imports_only_from_above(path):
    module = get_module(path)
    if module in ("__init__", "demo_run"):
        return
    for name in list_imports(path):
        if name.startswith("polyp_core.") and (target := name.split(".")[1]) in ORDER:
            assert ORDER.index(target) <= ORDER.index(module), f"{module} imports {name}"


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_knows_no_screen_and_light_modules_no_tensorflow(path):
    roots = {name.split(".")[0] for name in list_imports(path)}
    assert "streamlit" not in roots
    assert "plotly" not in roots
    if get_module(path) not in HEAVY:
        assert not roots & {"keras", "tensorflow"}
    if get_module(path) in ("networks", "models", "training", "rate_finder"):
        assert "tensorflow" not in roots


@pytest.mark.parametrize("path", SCREENS, ids=lambda p: p.name)
def test_screens_never_import_what_is_heavy(path):
    names = list_imports(path)
    assert not {name.split(".")[0] for name in names} & {"keras", "tensorflow", "sklearn"}
    assert not {name.split(".")[1] for name in names if name.startswith("polyp_core.")} & HEAVY


@pytest.mark.parametrize("path", CORE + SCREENS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "a file seldom has over 300 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 70, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", CORE + SCREENS, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_workers_catch_everything(path):
    """And networks.py, since Keras raises a bare Exception where it cannot fetch weights."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            names = ast.unparse(node.type) if node.type else "everything"
            is_broad = node.type is None or names in ("Exception", "BaseException")
            assert not is_broad or path.name in _BROAD, node.lineno


@pytest.mark.parametrize("path", [p for p in CORE if p.parent.name == "polyp_core"],
                         ids=lambda p: p.name)  # fmt: skip
def test_every_module_of_the_core_has_its_tests(path):
    name = {"__main__": "cli"}.get(path.stem, path.stem)
    if name in ("__init__", "errors", "demo_model"):  # tested where they are used
        return
    assert (ROOT / "tests" / "core" / f"test_{name}.py").is_file()
