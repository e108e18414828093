"""What every server and channel of the mesh promises, whatever it serves."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from tests.patience import PATIENCE_S, within
from tests.wire.fake_worker import FakeWorker, hang
from tests.wire.standard import health_stub, reflection_stub
from tests.wire.tcp_proxy import TcpProxy

CHECK = health_pb2.HealthCheckRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@contextlib.asynccontextmanager
async def worker(**how: Any) -> AsyncIterator[FakeWorker]:
    """A worker that listens until the block ends."""
    made = await FakeWorker(**how).start()
    try:
        yield made
    finally:
        await made.kill()


async def test_streams_that_watch_do_not_hold_a_stop() -> None:
    """A Watch gets NOT_SERVING and its end, a reflection stream its end; the stop takes no grace."""
    async with worker() as one, open_channel(one.address) as channel:
        watch = health_stub(channel).Watch(CHECK)
        assert (await watch.read()).status == SERVING
        mirror = reflection_stub(channel).ServerReflectionInfo()
        await mirror.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await mirror.read()).list_services_response.service
        assert one.server is not None
        async with asyncio.timeout(PATIENCE_S):
            await one.server.stop(30)
            assert (await watch.read()).status == NOT_SERVING
            assert await watch.read() is grpc.aio.EOF
            assert await mirror.read() is grpc.aio.EOF


async def test_a_stop_still_waits_for_work() -> None:
    """Calls that do something have the grace they were given."""
    async with worker(script=hang) as one, open_channel(one.address) as channel:
        call = InferenceServiceStub(channel).Generate(pb.GenerateRequest(model="chat-model", text="a"))
        await call.read()
        assert one.server is not None
        stopping = asyncio.create_task(one.server.stop(30))
        await asyncio.sleep(0.3)
        assert not stopping.done()
        call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await stopping


async def test_health_of_an_unknown_service() -> None:
    """Check says NOT_FOUND; Watch says SERVICE_UNKNOWN and stays open."""
    async with worker() as one, open_channel(one.address) as channel:
        stub = health_stub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mesh traffic does not go to the web proxy of a company's machines."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, proxy)
        async with worker() as one, open_channel(one.address) as channel:
            check = health_stub(channel).Check
            assert (await check(CHECK, timeout=PATIENCE_S, wait_for_ready=True)).status == SERVING


async def test_a_far_server_is_reached() -> None:
    """Connecting may take seconds: 400 ms each way are several round trips before the first call."""
    async with (
        worker() as one,
        TcpProxy(one.address, delay_s=0.4) as proxy,
        open_channel(proxy.address) as channel,
    ):
        check = health_stub(channel).Check
        assert (await check(CHECK, timeout=PATIENCE_S)).status == SERVING


async def test_a_server_that_starts_again_is_found_soon() -> None:
    """Giving connections seconds to be made does not make a channel wait long between tries."""
    async with worker() as one, open_channel(one.address) as channel:
        check = health_stub(channel).Check
        await check(CHECK)
        await one.kill()
        with pytest.raises(grpc.aio.AioRpcError):
            await check(CHECK)
        await asyncio.sleep(2)
        await one.start()
        async with within(2):
            await check(CHECK, timeout=PATIENCE_S, wait_for_ready=True)


@pytest.mark.slow
async def test_the_slot_of_a_client_that_vanished_is_freed() -> None:
    """A client that goes without closing its connection, as in a power cut, is noticed within 30 s."""
    async with (
        worker(script=hang) as one,
        TcpProxy(one.address) as proxy,
        grpc.aio.insecure_channel(str(proxy.address)) as channel,
    ):
        call = InferenceServiceStub(channel).Generate(pb.GenerateRequest(model="chat-model", text="a"))
        await call.read()
        proxy.freeze()
        async with within(30):
            await one.cancelled.wait()


_SILENT = """
import asyncio, sys
from tests.wire.fake_worker import FakeWorker
async def main():
    async def never(_): await asyncio.Event().wait()
    worker = await FakeWorker(on_unary=never).start()
    print(worker.address, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_hung_peer_is_noticed_by_a_call_within_15_s() -> None:
    """A call to a process that was stopped (SIGSTOP) fails as UNAVAILABLE, long before its own deadline."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _SILENT),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    try:
        address = Address.parse((await process.stdout.readline()).decode().strip())
        async with open_channel(address) as channel:
            call = InferenceServiceStub(channel).Tokenize(pb.TokenizeRequest(model="m", text="a"))
            await asyncio.sleep(2)
            process.send_signal(signal.SIGSTOP)
            async with within(15):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        process.kill()
        await process.wait()
