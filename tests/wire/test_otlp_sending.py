"""OTLP over HTTP: a post ends in its time, whatever a collector does."""

import asyncio
import threading
from contextlib import suppress

import pytest

from inferloom_mesh.otlp_sending import HttpWay, SendingError
from inferloom_mesh.otlp_target import Target
from tests.patience import PATIENCE_S


def posting() -> int:
    """Threads that post."""
    return sum(thread.name == "otlp" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n"]
)
async def test_a_collector_that_trickles_is_given_up(beginning: bytes) -> None:
    """It may be tried again, and neither a connection nor a thread stays."""
    gone = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(beginning)
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.02)
        gone.set()
        writer.close()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        way = HttpWay(Target("http/protobuf", f"http://{host}:{port}/v1/traces", "it"))
        before = posting()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(SendingError) as failure:
                await way.send(b"spans", 0.3)
            assert failure.value.later
            await gone.wait()
            while posting() > before:  # noqa: ASYNC110 # it tells nobody
                await asyncio.sleep(0.01)
