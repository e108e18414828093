"""The reader of a gateway's stream outlives the calls, and the stream ends with its reader."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_mesh.call_observer import Observers
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.rpc.attach.attachment import Attachment
from inferloom_worker.rpc.inference import Inference
from tests.patience import PATIENCE_S


class SlowThenQuick:
    """Its first answer does not come in time; the others do."""

    def __init__(self) -> None:
        self.asked = 0

    async def tokenize(self, request: pb.TokenizeRequest, incoming: object) -> pb.TokenizeResponse:
        self.asked += 1
        if self.asked == 1:
            try:
                async with asyncio.timeout(0.01):  # with nothing before it that waits
                    await asyncio.sleep(60)
            except TimeoutError:
                raise InferloomError(Reason.TIMEOUT, "The model's server did not answer.") from None
        return pb.TokenizeResponse()


def start(number: int) -> link_pb2.AttachRequest:
    call = link_pb2.StartCall(call=number, events=4, bytes=4096, tokenize=pb.TokenizeRequest(model="m"))
    return link_pb2.AttachRequest(starts=[call])


async def test_a_call_that_times_out_leaves_the_reader_alone() -> None:
    """The calls behind it are begun, and answered."""
    attachment = Attachment(cast("Inference", SlowThenQuick()), Observers(()), "ipv4:127.0.0.1:1")

    async def requests() -> AsyncIterator[link_pb2.AttachRequest]:
        yield start(1)
        await asyncio.sleep(0.05)
        yield start(2)

    reading = asyncio.create_task(attachment.read(requests()))
    ends: dict[int, int] = {}
    events: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        async for frame in attachment.frames():
            ends |= {end.call: end.code for end in frame.ends}
            events += [event.call for event in (*frame.opening, *frame.closing)]
    await reading
    assert events == [2]
    assert ends[1] != 0
    assert ends[2] == 0


@pytest.mark.parametrize("raised", [asyncio.CancelledError, GeneratorExit])
async def test_the_stream_ends_with_its_reader(raised: type[BaseException]) -> None:
    """Whatever has ended that: a gateway whose stream is not read has to make another."""
    attachment = Attachment(cast("Inference", SlowThenQuick()), Observers(()), "ipv4:127.0.0.1:1")

    async def requests() -> AsyncIterator[link_pb2.AttachRequest]:
        await asyncio.sleep(0)
        raise raised
        yield

    async def frames() -> list[Any]:
        return [frame async for frame in attachment.frames()]

    writing = asyncio.create_task(frames())
    await asyncio.gather(asyncio.create_task(attachment.read(requests())), return_exceptions=True)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(InferloomError) as failure:
            await writing
    assert failure.value.reason is Reason.SERVER_ERROR
