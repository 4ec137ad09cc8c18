"""The one check command: `python -m tests`. Formatting, lint, types, then every test."""

import os
import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    # Two processes, each a file at a time, so that what a file prepares is prepared once; in the
    # order of tests/conftest.py.
    ("pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *sys.argv[1:]),
)


def main() -> int:
    """Run the checks one after another and end with the first that fails."""
    # Or every server and worker that a test starts would compile the whole project anew.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    for check in CHECKS:
        print(f"--- {' '.join(check)}", flush=True)
        command, root = [sys.executable, "-m", *check], Path(__file__).parents[1]
        code = subprocess.run(command, cwd=root, env=environment, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
