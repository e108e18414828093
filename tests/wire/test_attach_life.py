"""A worker's life with gateways attached: who may attach, draining, stopping, and what is seen of calls."""

import asyncio
import logging

import grpc
import pytest

from inferloom.v1 import link_pb2, registry_pb2, worker_pb2
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import Reason
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S, until_async, within
from tests.wire.attached import attached
from tests.wire.running_worker import limited, running_worker, text_request

ENDLESS = "slow=echo:delay_ms=60000"
SECRET = "a secret of this mesh"


async def test_only_peers_attach() -> None:
    """Where the mesh has a secret, as for every other call."""
    async with running_worker("echo", mesh_secret=SECRET) as worker:
        async with attached(worker) as stranger:
            failure = await stranger.ended()
            assert isinstance(failure, grpc.aio.AioRpcError)
            assert from_rpc_error(failure).reason is Reason.NOT_A_PEER
        async with attached(worker, metadata=MeshSecret(SECRET).metadata) as link:
            assert (await link.run(text_request("a", **limited(2)))).text() == "aa"


@pytest.mark.parametrize("transport", ["grpc", "tcp"])
async def test_a_drain_lets_calls_finish_and_refuses_new_ones(transport: str) -> None:
    """With the reason of any other door; the open stream holds nothing up."""
    async with (
        running_worker("paced=echo:delay_ms=5", "echo", drain_limit_s=PATIENCE_S) as worker,
        attached(worker, transport) as link,
    ):
        running = await link.start(text_request("ab", model="paced", **limited(200)))
        await link.until(running, lambda call: len(call.events) > 1)
        drain = asyncio.ensure_future(
            worker.control.Drain(worker_pb2.DrainRequest(limit=duration(PATIENCE_S)))
        )
        await until_async(
            worker.status, "draining", lambda seen: seen.worker.state == registry_pb2.WORKER_STATE_DRAINING
        )
        refused = (await link.run(text_request())).error()
        assert (refused.reason, refused.message) == (Reason.NO_WORKER, "The worker is draining.")
        assert (await link.over(running)).text() == "ab" * 100
        assert (await drain).ended_requests == 0
        worker.stop.set()
        async with within(0.9):  # the open stream does not hold up the stop
            await worker.serving
        assert await link.ended() is None, "it ended well"


@pytest.mark.parametrize("transport", ["grpc", "tcp"])
async def test_a_drain_past_its_limit_ends_calls(transport: str) -> None:
    """So that they go on elsewhere, with or without credit, and before the stream ends."""
    async with (
        running_worker(ENDLESS, "paced=echo:delay_ms=5") as worker,
        attached(worker, transport) as link,
    ):
        waiting = await link.start(text_request(model="slow"))
        stuck = await link.start(text_request(model="paced", **limited(2000)), events=2, generous=False)
        await link.until(stuck, lambda call: len(call.events) == 2)
        await worker.until(running=2)
        worker.stop.set()
        for linked in (waiting, stuck):
            assert (await link.over(linked)).error().reason is Reason.NO_WORKER
        await worker.serving
        assert await link.ended() is None


async def test_a_queue_that_is_full_refuses() -> None:
    """SERVER_OVERLOADED with a time to come back."""
    async with running_worker(ENDLESS, max_running=1, max_waiting=1) as worker, attached(worker) as link:
        await link.start(text_request(model="slow"))
        await worker.until(running=1)
        await link.start(text_request(model="slow"))
        await worker.until(running=1, waiting=1)
        error = (await link.run(text_request(model="slow"))).error()
        assert (error.reason, error.retry_after) == (Reason.SERVER_OVERLOADED, 1.0)


@pytest.mark.parametrize("transport", ["grpc", "tcp"])
async def test_calls_on_a_link_are_logged(caplog: pytest.LogCaptureFixture, transport: str) -> None:
    """A line each, as for calls of their own: with the request's name, its tokens and how it ended."""
    caplog.set_level(logging.INFO, logger="inferloom.access")
    async with running_worker("echo", ENDLESS) as worker, attached(worker, transport) as link:
        await link.run(text_request("ab", **limited(5)), request_id="of-a-gateway", caller="10.0.0.9:1")
        await link.run(text_request("ab", model="nobody"), request_id="second")
        left = await link.start(text_request("ab", model="slow"), request_id="third")
        await worker.until(running=1)
        await link.send(link_pb2.AttachRequest(cancels=[left.number]))
        await worker.until(running=0)
    lines = [record.getMessage() for record in caplog.records if "Generate" in record.getMessage()]
    assert len(lines) == 3
    for line, parts in zip(
        lines,
        (
            ("grpc Generate OK", "in=2 out=5", "client=10.0.0.9:1", "request_id=of-a-gateway"),
            ("grpc Generate NOT_FOUND", "error=model_not_found", "request_id=second"),
            ("grpc Generate CANCELLED", "error=cancelled", "request_id=third"),
        ),
        strict=True,
    ):
        assert all(part in line for part in parts), line
