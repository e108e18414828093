"""What the command line says where it cannot write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

PORTS = ("--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0")


@pytest.fixture
def homeless(tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose home folder is nowhere: not even root can make one below a file."""
    (tmp_path / "file").touch()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("INFERLOOM_", "XDG_", "PIP_"))}
    return kept | {"HOME": str(tmp_path / "file" / "home")}


def inferloom(cwd: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [sys.executable, "-m", "inferloom_cli", *args]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("args", "advice"),
    [
        (("up", "--model", "e=echo", *PORTS), "--log-dir"),
        (("up", *PORTS), "INFERLOOM_CACHE_DIR"),
        (("pull", "all-minilm-l6-v2"), "INFERLOOM_CACHE_DIR"),
        (("worker", "--model", "all-minilm-l6-v2", "--listen", "127.0.0.1:0"), "INFERLOOM_CACHE_DIR"),
        (("up", "--model", "e=echo", *PORTS, "--log-dir", "file/logs"), "--log-dir"),
    ],
)
def test_an_unwritable_home_is_one_line_that_says_what_to_set(
    args: tuple[str, ...], advice: str, tmp_path: Path, homeless: dict[str, str]
) -> None:
    """Status 1, and no traceback."""
    result = inferloom(tmp_path, homeless, *args)
    assert "Traceback" not in result.stderr
    assert advice in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("inferloom: cannot write ")
    assert result.returncode == 1


def test_a_ready_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    """Not when everything has been started."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("INFERLOOM_")}
    where = ("--log-dir", "logs", "--ready-file", "nowhere/ready.json")
    result = inferloom(tmp_path, env, "up", "--model", "e=echo", *PORTS, *where)
    assert "cannot write the ready file to nowhere/ready.json" in result.stderr
    assert result.returncode == 1
