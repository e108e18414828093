"""Run every static check of the project, and report all that fail rather than the first.

Usage: python tools/dev/check.py
"""

import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]

CPP = [
    *sorted(str(path) for path in (ROOT / "worker/inferloom_worker/kernels/src").iterdir()),
    *sorted(str(path) for path in (ROOT / "tests/worker/native").glob("*.h")),
]

CHECKS: dict[str, list[str]] = {
    "format": [f"{BIN}/ruff", "format", "--check", "--quiet"],
    "format of C++": [f"{BIN}/clang-format", "--dry-run", "-Werror", *CPP],
    "lint": [f"{BIN}/ruff", "check", "--quiet"],
    "types": [f"{BIN}/mypy", "--no-error-summary"],
    "imports": [f"{BIN}/lint-imports"],
    "protos": [f"{BIN}/buf", "lint"],
    "stubs": [sys.executable, "tools/dev/protos.py", "--check"],
    "contract": [sys.executable, "tools/dev/contract.py"],
}


def main() -> None:
    failed = []
    for name, command in CHECKS.items():
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{'ok' if result.returncode == 0 else 'FAILED':>6}  {name}", flush=True)
        if result.returncode:
            failed.append(name)
            print(result.stdout + result.stderr)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
