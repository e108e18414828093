"""What machines other than Linux on x86-64 have, and what they lack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ELSEWHERE = """
import os, sys
del os.sched_getaffinity
if hasattr(os, "process_cpu_count"): del os.process_cpu_count
os.chdir(sys.argv.pop(1))
from inferloom_cli.__main__ import main
main()
"""
"""The command line on a system that does not bind processes to cores, as macOS."""


def elsewhere(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line there, in ``folder``."""
    command = [sys.executable, "-c", ELSEWHERE, str(folder), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_up_counts_cores_where_processes_are_not_bound_to_them(tmp_path: Path) -> None:
    """It comes as far as the log folder, which is a file here, and names the flag."""
    file = tmp_path / "file"
    file.touch()
    ports = ("--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0")
    result = elsewhere(tmp_path, "up", "--model", "e=echo", *ports, "--log-dir", str(file / "logs"))
    assert "sched_getaffinity" not in result.stderr
    assert "Traceback" not in result.stderr
    assert "--log-dir" in result.stderr
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ((), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        (("sched_getaffinity",), os.cpu_count()),
    ],
)
def test_cores_are_counted_with_what_the_system_has(
    gone: tuple[str, ...], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them where nothing says which are ours."""
    from inferloom_mesh.machine import cores

    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    for name in gone:
        monkeypatch.delattr(os, name, raising=False)
    assert expected == cores()


@pytest.mark.parametrize(
    ("system", "processor"), [("win32", "AMD64"), ("linux", "riscv64"), ("freebsd14", "x86_64")]
)
def test_kernels_are_not_attempted_where_they_cannot_work(system: str, processor: str) -> None:
    """One sentence that names the machine, before a compiler is looked for."""
    from inferloom_worker.kernels.build import BuildError, require_known_machine

    with pytest.raises(BuildError, match=f"x86-64 and 64-bit ARM, and this is {system} on {processor}"):
        require_known_machine(system, processor)
