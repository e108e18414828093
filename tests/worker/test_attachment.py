"""The reader of a gateway's stream outlives the calls, and the stream ends with its reader."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_mesh.call_observer import CallObserver, Observers, SeenCall
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.hosting.answer import Answer
from inferloom_worker.hosting.running_calls import RunningCalls
from inferloom_worker.rpc.attach.attachment import Attachment
from inferloom_worker.rpc.generating import Generating
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


class Ends(CallObserver):
    """Notes which calls have ended, and with what."""

    def __init__(self) -> None:
        self.seen: list[InferloomError | None] = []
        self.told = asyncio.Event()

    def ended(self, call: SeenCall) -> None:
        self.seen.append(call.error)
        self.told.set()


class Quick:
    """It answers at once."""

    async def tokenize(self, request: pb.TokenizeRequest, incoming: object) -> pb.TokenizeResponse:
        return pb.TokenizeResponse()


async def test_who_is_told_of_an_end_does_not_hold_up_its_frame() -> None:
    """Lines of the log and metrics are made when the frame is there; once, and of calls that are cancelled
    too."""
    ends = Ends()
    attachment = Attachment(cast("Inference", Quick()), Observers([ends]), "ipv4:127.0.0.1:1")
    attachment.take(start(1))
    async with asyncio.timeout(PATIENCE_S):
        async for frame in attachment.frames():
            if frame.ends:
                break
    assert ends.seen == []
    async with asyncio.timeout(PATIENCE_S):
        await ends.told.wait()
    assert ends.seen == [None]
    attachment.take(start(2))
    attachment.lost()
    assert ends.seen == [None, None]
    await asyncio.sleep(0)
    assert ends.seen == [None, None]


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


async def how_it_ends(inference: object) -> str:
    """What a gateway is told at the end of a Generate call."""
    attachment = Attachment(cast("Inference", inference), Observers(()), "ipv4:127.0.0.1:1")
    generate = link_pb2.StartCall(call=1, events=4, bytes=4096, generate=pb.GenerateRequest(model="m"))
    attachment.take(link_pb2.AttachRequest(starts=[generate]))
    async with asyncio.timeout(PATIENCE_S):
        async for frame in attachment.frames():
            if frame.ends:
                return frame.ends[0].message
    return ""


class Endless:
    """An answer that never ends."""

    waiting = over = False

    def follow(self, news: object) -> "Endless":
        return self

    def read(self) -> list[Any]:
        return []

    def abort(self) -> None:
        pass


class StopsMeanwhile:
    """The worker has to end its calls while one is read."""

    async def begin(self, request: pb.GenerateRequest, incoming: object) -> Generating:
        calls = RunningCalls()
        call = calls.enter(self)
        call.ended = True
        return Generating(cast("Answer", Endless()), call, calls, "w")


async def test_a_call_that_has_to_end_while_it_is_read_ends() -> None:
    """So that it goes on elsewhere, and is not waited for."""
    assert "stopped before" in await how_it_ends(StopsMeanwhile())


class Cancelled:
    """What its calls wait for is cancelled, and they are not."""

    async def begin(self, request: pb.GenerateRequest, incoming: object) -> Generating:
        waiting = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await waiting
        raise AssertionError


async def test_a_call_ends_whose_work_was_cancelled_by_another() -> None:
    """Otherwise the gateway is told every second that it is read, and waits for ever."""
    assert "stopped before" in await how_it_ends(Cancelled())
