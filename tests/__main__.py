"""The one check command: `python -m tests`. Formatting, lint, types, then every test."""

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    # Two processes, since much of what is tested waits for others; tests/conftest.py groups them.
    ("pytest", "-n", "2", "--dist", "loadgroup", *sys.argv[1:]),
)


def main() -> int:
    """Run the checks one after another and end with the first that fails."""
    for check in CHECKS:
        print(f"--- {' '.join(check)}", flush=True)
        root = Path(__file__).parents[1]
        code = subprocess.run([sys.executable, "-m", *check], cwd=root, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
