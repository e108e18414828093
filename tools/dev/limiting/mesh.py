"""Meshes to ask: one gateway of several processes with keys in a file, or two with keys in a Redis."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

INFERLOOM = (sys.executable, "-m", "inferloom_cli")
MODEL = "echo"
_START_LIMIT_S = 90.0


@contextmanager
def process(folder: Path, *command: str, environment: dict[str, str]) -> Iterator[dict[str, object]]:
    """A service of ours until the block ends; what it says of itself."""
    ready = folder / f"{secrets.token_hex(4)}.json"
    log = ready.with_suffix(".log").open("w")
    running = subprocess.Popen(
        [*INFERLOOM, *command, "--ready-file", str(ready)],
        stdout=log,
        stderr=log,
        cwd=folder,
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _START_LIMIT_S
        while not ready.exists():
            if running.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"it did not start: {ready.with_suffix('.log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        running.terminate()
        running.wait(60)
        log.close()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis until the block ends; its URL."""
    server = shutil.which("redis-server")
    if server is None:
        raise SystemExit("redis-server is not installed")
    running = subprocess.Popen(
        [server, "--port", "0", "--unixsocket", f"{folder}/s", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not (folder / "s").exists():
            time.sleep(0.05)
        yield f"unix://{folder}/s"
    finally:
        running.terminate()
        running.wait(20)


def make_key(where: str, *limits: str) -> str:
    """Make a key with ``inferloom keys create``."""
    command = [*INFERLOOM, "keys", "create", "--keys", where, *limits]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def one_gateway(folder: Path, where: str, processes: int) -> Iterator[list[str]]:
    """A mesh with one gateway; where to ask."""
    ports = ("--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0")
    command = ("up", "--model", f"{MODEL}=echo", *ports, "--log-dir", str(folder / "logs"))
    flags = ("--gateway-processes", str(processes), "--keys", where)
    with process(folder, *command, *flags, environment={}) as report:
        yield [f"http://{report['rest']}"]


@contextmanager
def two_gateways(folder: Path, where: str) -> Iterator[list[str]]:
    """A mesh with two gateways; where to ask each."""
    secret = {"INFERLOOM_MESH_SECRET": secrets.token_urlsafe(32)}
    anywhere = "127.0.0.1:0"
    with ExitStack() as stack:

        def start(*command: str, more: Sequence[tuple[str, str]] = ()) -> dict[str, object]:
            found = process(folder, *command, environment={**secret, **dict(more)})
            return stack.enter_context(found)

        none = "--metrics-listen", "none"
        registry = str(start("registry", "--listen", anywhere, "--settle", "0", *none)["address"])
        start("worker", "--model", f"{MODEL}=echo", "--listen", anywhere, "--registry", registry, *none)
        keys = [("INFERLOOM_KEYS", where)]
        listening = ("--listen", anywhere, "--grpc-listen", anywhere, "--registry", registry, *none)
        yield [f"http://{start('gateway', *listening, more=keys)['rest']}" for _ in range(2)]
