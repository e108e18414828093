"""``inferloom logs`` as a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

GATEWAY = "2026-01-01 10:00:01,000 INFO    inferloom.access: POST /v1/x 200 request_id=abc"
WORKER = "2026-01-01 10:00:00,500 INFO    inferloom.access: grpc Generate OK request_id=abc"
OTHER = "2026-01-01 10:00:02,000 INFO    inferloom.access: POST /v1/x 200 request_id=other"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of a user who has run two meshes."""
    root = tmp_path / "state" / "inferloom" / "log"
    for name in ("2026-01-01_09-00-00_1", "2026-01-01_10-00-00_2"):
        (root / name).mkdir(parents=True)
    (root / "2026-01-01_09-00-00_1" / "gateway.log").write_text("2026-01-01 09:00:00,000 INFO old\n")
    last = root / "2026-01-01_10-00-00_2"
    (last / "gateway.log").write_text(f"{GATEWAY}\n{OTHER}\n")
    (last / "worker-1.log").write_text(f"{WORKER}\n")
    return last


def logs(state: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command for a user whose state is there."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("INFERLOOM_")}
    command = [sys.executable, "-m", "inferloom_cli", "logs", *args]
    env = kept | {"XDG_STATE_HOME": str(state)}
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=env)


linux = pytest.mark.skipif(sys.platform != "linux", reason="XDG_STATE_HOME moves the logs on Linux")


@linux
def test_the_last_runs_lines_come_by_time(runs: Path, tmp_path: Path) -> None:
    """All services, oldest first, and not the run before."""
    done = logs(tmp_path / "state")
    assert done.stdout.splitlines() == [
        f"worker-1 │ {WORKER}",
        f"gateway  │ {GATEWAY}",
        f"gateway  │ {OTHER}",
    ]


@linux
def test_one_request_is_followed_through_the_services(runs: Path, tmp_path: Path) -> None:
    """And one service can be chosen."""
    done = logs(tmp_path / "state", "--request", "abc")
    assert done.stdout.splitlines() == [f"worker-1 │ {WORKER}", f"gateway  │ {GATEWAY}"]
    done = logs(tmp_path / "state", "--service", "gateway", "--since", "2026-01-01 10:00:02")
    assert done.stdout.splitlines() == [f"gateway  │ {OTHER}"]


@linux
@pytest.mark.parametrize(
    ("args", "says", "status"),
    [
        (("--request", "nobody"), "no line of the request nobody", 1),
        (("--service", "worker-2"), "there are gateway, worker-1", 2),
        (("--since", "soon"), "--since: 'soon' is neither", 2),
    ],
)
def test_what_is_not_there_is_one_sentence(
    args: tuple[str, ...], says: str, status: int, runs: Path, tmp_path: Path
) -> None:
    """With what there is."""
    done = logs(tmp_path / "state", *args)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_run_there_is_one_sentence(tmp_path: Path) -> None:
    """It says what writes logs."""
    done = logs(tmp_path)
    assert done.returncode == 1
    assert "`inferloom up` writes them" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_follows_what_is_written_next(runs: Path) -> None:
    """Through a file that is full and moved away, and a service that comes later; a half line waits."""
    with subprocess.Popen(
        [sys.executable, "-m", "inferloom_cli", "logs", "-f", "--log-dir", str(runs)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout
            first = [process.stdout.readline() for _ in range(3)]
            assert first[0] == f"worker-1 │ {WORKER}\n"
            file = runs / "gateway.log"
            with file.open("a") as log:
                log.write("2026-01-01 10:00:03,000 INFO ha")
                log.flush()
                log.write("lf\n")
            assert process.stdout.readline().endswith("INFO half\n")
            file.rename(runs / "gateway.log.1")
            file.write_text("2026-01-01 10:00:04,000 INFO new file\n")
            assert process.stdout.readline().endswith("INFO new file\n")
            (runs / "worker-2.log").write_text("2026-01-01 10:00:05,000 INFO another\n")
            assert process.stdout.readline().startswith("worker-2 │")
        finally:
            process.terminate()
