"""Servers as processes: started, waited for, and stopped with all that they started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

_STOP_LIMIT_S = 30.0
_POLL_S = 0.05
_LAST_LINES = 15


class DidNotStartError(Exception):
    """A server ended, or took too long, before it was ready; the message has its last lines."""


@contextmanager
def server(command: Sequence[str], ready: str, log: Path, limit: float, **more: str) -> Iterator[float]:
    """Run a server inside the block.

    Args:
        command: What starts it.
        ready: ``host:port/path`` that answers 200 once it is ready.
        log: Takes what it writes.
        limit: How long it may take, in seconds.
        more: Environment variables.

    Yields:
        Seconds from start to ready.
    """
    with process(command, log, more) as child:
        began = time.monotonic()
        address, _, path = ready.partition("/")
        while not _answers(address, f"/{path}"):
            check(child, log, began + limit)
            time.sleep(_POLL_S)
        yield time.monotonic() - began


@contextmanager
def process(
    command: Sequence[str], log: Path, more: Mapping[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, with a process group of its own, inside the block."""
    ours = [name for name in os.environ if name.startswith("INFERLOOM_") and name != "INFERLOOM_CACHE_DIR"]
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=kept | dict(more),
            start_new_session=True,
            cwd=cwd,
        )
    try:
        yield child
    finally:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_LIMIT_S)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # the group is ours, also when its first process is gone
        child.wait()


def check(child: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    """Give up on a process that has ended or is too late.

    Raises:
        DidNotStartError: It has.
    """
    if child.poll() is None and time.monotonic() < deadline:
        return
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
    what = "took too long" if child.poll() is None else f"ended with status {child.returncode}"
    raise DidNotStartError(f"{child.args!r} {what}:\n{tail}")


def end_well() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answers(address: str, path: str) -> bool:
    connection = HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
