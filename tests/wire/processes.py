"""Commands of the command line as processes, and clients of what they run."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from tests.patience import PATIENCE_S
from tests.wire.standard import health_stub


class Process:
    """One command of the command line, and what it said when it was ready."""

    def __init__(self, environment: dict[str, str], folder: Path, *arguments: str) -> None:
        self._file = folder / "ready.json"
        self._log = (folder / "log").open("w+")
        command = [sys.executable, "-m", "inferloom_cli", *arguments, "--ready-file", str(self._file)]
        self.process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def said(self) -> str:
        """What it wrote."""
        self._log.seek(0)
        return self._log.read()

    async def report(self) -> dict[str, Any]:
        """What it said when it was ready."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self.process.poll() is None:
            if self._file.exists():
                said: dict[str, Any] = json.loads(self._file.read_text())
                return said
            await asyncio.sleep(0.05)
        raise AssertionError(self.said())

    async def ended(self) -> int:
        """Its exit status."""
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[tuple[Any, Any]]:
    """Stubs for requests and for health."""
    async with open_channel(Address.parse(address)) as channel:
        yield InferenceServiceStub(channel), health_stub(channel)


async def status_of(call: Any) -> grpc.StatusCode:
    """The status of a call that is read to its end."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK
