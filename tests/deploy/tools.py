"""The validators that come with packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

BIN = Path(sys.executable).parent


def tool(name: str, *places: str) -> str:
    """Where a program is. Skips the test where it is not installed, and fails it where CI is set."""
    path = os.pathsep.join((str(BIN), os.environ.get("PATH", ""), *places))
    found = shutil.which(name, path=path)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def passes(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a validator, which must find nothing; return what it said."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
