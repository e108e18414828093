"""Runs pytest with the arguments given; the few tests that fail are run once more, alone.

Usage: python tools/dev/confirmed.py [PYTEST ARGUMENTS]

Many tests have real processes and real time, two files run side by side, and a shared machine may stand still
for seconds: a test that failed by that passes alone. A fault of the product fails again. What needed a second
run is named at the end, so that it is seen; more than ``MOST`` are no accident and are not run again.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTEST = Path(sys.executable).parent / "pytest"
MOST = 3
"""Tests that are run again."""
FAILED = 1
"""pytest's status when it ran and tests failed; another one means that it did not run."""


def main(arguments: list[str]) -> int:
    """Returns pytest's exit status: of the second run where there was one, otherwise of the first."""
    status = _pytest("--cache-clear", *arguments)
    names = sorted(json.loads(_LAST.read_text())) if status == FAILED and _LAST.exists() else []
    if not 0 < len(names) <= MOST:
        return status
    status = _pytest("--last-failed", "--last-failed-no-failures", "none")
    end = "failed again, alone" if status else "failed once and passed alone"
    print(*(f"{end}: {name}" for name in names), sep="\n", flush=True)
    return status


_LAST = ROOT / ".pytest_cache/v/cache/lastfailed"


def _pytest(*arguments: str) -> int:
    return subprocess.run([str(PYTEST), *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
