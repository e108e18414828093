"""A link ends with its writer."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from inferloom.v1 import link_pb2
from inferloom_gateway.calls.attach.attachment import Attachment
from inferloom_gateway.calls.attach.grpc_stream import GrpcStream
from inferloom_gateway.calls.gathering import Gathering
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    import grpc


class Unwritable:
    """A stream that nothing can be written to, and that says nothing."""

    def __init__(self) -> None:
        self._over = asyncio.get_running_loop().create_future()

    async def wait_for_connection(self) -> None:
        pass

    async def write(self, frame: link_pb2.AttachRequest) -> None:
        raise ValueError("it cannot be encoded")

    async def read(self) -> Any:
        return await self._over

    def cancel(self) -> None:
        self._over.cancel()


async def test_a_stream_that_cannot_be_written_to_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Its calls would wait for ever, and so would those that are begun on it."""
    ended = asyncio.Event()
    attachment = Attachment(
        GrpcStream(cast("grpc.aio.StreamStreamCall[Any, Any]", Unwritable()), "127.0.0.1:1"),
        "127.0.0.1:1",
        lambda load: None,
        lambda attachment: ended.set(),
        Gathering(),
    )
    attachment.credit(1, 1, 1)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert "cannot be written to" in caplog.text
    await attachment.close(None)
