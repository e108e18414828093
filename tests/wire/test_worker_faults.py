"""A worker whose model breaks: it says so, ends what it cannot answer, and its process ends."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S, within
from tests.wire.processes import Process, calling, status_of
from tests.wire.running_worker import limited, refused, text_request

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where an engine named ``faulty`` is installed."""
    installed = tmp_path / "installed" / "faulty-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[inferloom.engines]\nfaulty = tests.worker.faulty_engine:KIND\n"
    )
    folders = f"{installed.parent}{os.pathsep}{ROOT}"
    return {**os.environ, "PYTHONPATH": folders, "INFERLOOM_REGISTRY": "127.0.0.1:1"}


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """A worker process with a model that breaks and one that is slow and does not."""
    command = ["worker", "--model", "faulty=faulty:", "--model", "slow=echo:delay_ms=100"]
    with Process(environment, tmp_path, *command, "--listen", "127.0.0.1:0") as process:
        yield process


async def serving(health: Any) -> bool:
    """What the worker's health says."""
    answer = await health.Check(health_pb2.HealthCheckRequest())
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def test_a_worker_whose_engine_breaks_lets_others_finish_and_ends(worker: Process) -> None:
    """The request that met it fails at once and new ones are refused; health says NOT_SERVING; a request of
    another model goes on to its end; then the process ends with a status that is not zero."""
    async with calling((await worker.report())["address"]) as (stub, health):
        assert await serving(health)
        slow = stub.Generate(text_request("0123456789", model="slow", **limited(20)))
        events = [await slow.read(), await slow.read()]
        async with within(5):
            met = await refused(stub.Generate(text_request("B", model="faulty", **limited(9))))
        assert met.reason is Reason.WORKER_LOST
        assert not await serving(health)
        assert (await refused(stub.Generate(text_request(model="slow")))).reason is Reason.NO_WORKER
        while (event := await slow.read()) is not grpc.aio.EOF:
            events.append(event)
    assert events[-1].completed.usage.completion_tokens == 20
    assert await worker.ended() == 1
    assert "a bug in bookkeeping" in worker.said()


async def test_a_step_that_fails_ends_no_more_than_its_requests(worker: Process) -> None:
    """The worker serves on."""
    async with calling((await worker.report())["address"]) as (stub, health):
        met = await refused(
            stub.Generate(text_request("F", model="faulty", **limited(9)), timeout=PATIENCE_S)
        )
        assert met.reason is Reason.SERVER_ERROR
        assert await serving(health)
        events = [e async for e in stub.Generate(text_request("0", model="faulty", **limited(3)))]
        assert events[-1].completed.usage.completion_tokens == 3


async def test_where_memory_is_suspect_nobody_is_waited_for(worker: Process) -> None:
    """Another model's request is ended too, and the process with it."""
    async with calling((await worker.report())["address"]) as (stub, _):
        slow = stub.Generate(text_request("0123456789", model="slow", **limited(2000)))
        await slow.read()
        async with within(4):
            await refused(stub.Generate(text_request("C", model="faulty", **limited(9))))
            assert await status_of(slow) is grpc.StatusCode.UNAVAILABLE
    assert await worker.ended() == 1


@pytest.mark.slow
async def test_up_starts_a_broken_worker_anew(environment: dict[str, str], tmp_path: Path) -> None:
    """With all that it had, at the same address."""
    ports = ("--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0")
    mesh = Process(
        environment, tmp_path, "up", "--model", "faulty=faulty:", *ports, "--log-dir", str(tmp_path)
    )
    with mesh:
        report = await mesh.report()
        address, pid = report["workers"][0]["address"], report["workers"][0]["pid"]
        async with calling(address) as (stub, _):
            await refused(stub.Generate(text_request("B", model="faulty", **limited(9)), timeout=PATIENCE_S))
        end = time.monotonic() + PATIENCE_S
        while (again := (await mesh.report())["workers"][0])["pid"] in (pid, None):
            assert time.monotonic() < end, mesh.said()
            await asyncio.sleep(0.2)
        assert again["address"] == address
        async with calling(address) as (stub, _):
            events = [e async for e in stub.Generate(text_request("0", model="faulty", **limited(3)))]
            assert events[-1].completed.usage.completion_tokens == 3
