"""What a gateway's link to a worker writes, and when; it ends with its writer."""

import asyncio
from typing import Any, cast

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.attachment import Attachment
from inferloom_gateway.calls.attach.grpc_stream import GrpcStream
from inferloom_gateway.calls.attach.link_call import LinkCall
from inferloom_gateway.calls.attach.stream import Desk
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.gathering import Gathering
from inferloom_mesh.errors import server_error
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from inferloom_mesh.status import to_status
from tests.gateway.test_link_frames import Seen
from tests.patience import PATIENCE_S


class Unwritable:
    """A stream that nothing can be written to, and that says nothing but that it was taken."""

    def __init__(self) -> None:
        self._over = asyncio.get_running_loop().create_future()
        self._taken = False

    def done(self) -> bool:
        return self._over.done()

    async def write(self, frame: link_pb2.AttachRequest) -> None:
        raise ValueError("it cannot be encoded")

    async def read(self) -> Any:
        if not self._taken:
            self._taken = True
            return link_pb2.AttachResponse()
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


def status(code: grpc.StatusCode, details: str, *trailing: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    """What a stream ends with."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)


class Refused:
    """A stream that its worker ends, as grpc.aio tells of it: INTERNAL, for good, where something was sent.

    Args:
        end: What the worker ends it with.
        answers: Whether it said something before, in the same moment.
    """

    def __init__(self, end: grpc.aio.AioRpcError, *, answers: bool = False) -> None:
        self._end = end
        self._answers = answers
        self._over = asyncio.Event()

    def over(self) -> None:
        """It has ended."""
        self._over.set()

    def done(self) -> bool:
        return self._over.is_set()

    async def write(self, frame: link_pb2.AttachRequest) -> None:
        if self._over.is_set():
            raise asyncio.InvalidStateError
        self._over.set()
        self._end = status(grpc.StatusCode.INTERNAL, "Internal error from Core")
        raise self._end

    async def read(self) -> Any:
        if self._answers:
            self._answers = False
            self.over()
            return link_pb2.AttachResponse()
        if not self._over.is_set():
            await asyncio.sleep(0.01)
            self.over()
        raise self._end

    def cancel(self) -> None:
        pass


async def verdict_on(call: Refused) -> Verdict | str:
    """What became of a call on it: its verdict, or that it went on by itself."""
    ended, sink = asyncio.Event(), Seen()
    attachment = Attachment(
        GrpcStream(cast("grpc.aio.StreamStreamCall[Any, Any]", call), "127.0.0.1:1"),
        "127.0.0.1:1",
        lambda load: None,
        lambda attachment: ended.set(),
        Gathering(),
    )
    request, number = pb.GenerateRequest(model="m"), attachment.number()
    alone = asyncio.Event()

    def made() -> Made:
        alone.set()
        return Made()

    attachment.start(
        LinkCall(number, request, sink, attachment, made), link_pb2.StartCall(call=number, generate=request)
    )
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    await attachment.close(None)
    if alone.is_set():
        return "by itself"
    (failure,) = sink.ends
    assert failure is not None
    return failure.verdict


async def test_nothing_is_sent_before_a_worker_has_taken_the_stream() -> None:
    """What was being sent would hide why it is refused: who does not let the gateway in is not lost, and who
    has no such streams is called otherwise."""
    strange = await verdict_on(Refused(status(grpc.StatusCode.UNAUTHENTICATED, "not a peer")))
    assert isinstance(strange, Verdict)
    assert (strange.cause, strange.lost, strange.suspect) == (attempt.NOT_LET_IN, False, False)
    assert await verdict_on(Refused(status(grpc.StatusCode.UNIMPLEMENTED, "none"))) == "by itself"


async def test_nothing_counts_as_sent_to_who_was_not_reached() -> None:
    """The stream ends before anything goes: a request that was never there has ended nobody."""
    call = Refused(status(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses"))
    call.over()
    attachment = Attachment(
        GrpcStream(cast("grpc.aio.StreamStreamCall[Any, Any]", call), "127.0.0.1:1"),
        "127.0.0.1:1",
        lambda load: None,
        lambda attachment: None,
        Gathering(),
    )
    request, number, sink = pb.GenerateRequest(model="m"), attachment.number(), Seen()
    running = LinkCall(number, request, sink, attachment, Made)
    attachment.start(running, link_pb2.StartCall(call=number, generate=request))
    async with asyncio.timeout(PATIENCE_S):
        await sink.ended.wait()
    assert not running.sent
    await attachment.close(None)


@pytest.mark.parametrize("answers", [False, True])
async def test_a_worker_that_ends_the_stream_itself_is_not_lost(answers: bool) -> None:
    """By its own words; what others say, such as a proxy whose way to it broke, may be its end."""
    said = to_status(server_error())
    ends = {
        (False, False): status(said.code, said.details, *said.trailing_metadata),
        (True, True): status(grpc.StatusCode.UNAVAILABLE, "reset"),
    }
    for lost, end in ends.items():
        verdict = await verdict_on(Refused(end, answers=answers))
        assert isinstance(verdict, Verdict)
        assert (verdict.lost, verdict.suspect) == lost
        assert verdict.elsewhere
        assert verdict.free


class Noted:
    """A stream that notes what it is told."""

    def __init__(self) -> None:
        self.desk: Desk | None = None
        self.said: list[str] = []

    def start(self, desk: Desk) -> None:
        self.desk = desk

    def wake(self) -> None:
        self.said.append("wake")

    def hurry(self) -> None:
        self.said.append("hurry")

    def cancel(self) -> None:
        pass

    async def ended(self) -> None:
        pass


async def test_a_call_that_is_alone_goes_at_once() -> None:
    """Others wait for what starts in the same turn, and share its frame."""
    stream = Noted()
    attachment = Attachment(stream, "127.0.0.1:1", lambda load: None, lambda attachment: None, Gathering())

    def begin() -> LinkCall:
        request, number = pb.GenerateRequest(model="m"), attachment.number()
        call = LinkCall(number, request, cast("Any", None), attachment, cast("Any", None))
        attachment.start(call, link_pb2.StartCall(call=number, generate=request))
        return call

    first = begin()
    second = begin()
    assert stream.said == ["hurry", "wake"]
    frame = attachment.next()
    assert frame is not None
    assert [start.call for start in frame.starts] == [first.number, second.number]
    first.cancel()
    second.cancel()
    stream.said.clear()
    begin()
    assert stream.said == ["hurry"]


class Made:
    """A call that was made by itself."""

    sent, mute = True, True

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def cancel(self) -> None:
        pass


@pytest.mark.parametrize("largest", [2**24, 2**20, 0])
async def test_a_large_call_waits_for_what_its_worker_takes(largest: int) -> None:
    """In pieces, or by itself; it is the worker's from its first piece on."""
    stream, made = Noted(), Made()
    attachment = Attachment(stream, "127.0.0.1:1", lambda load: None, lambda attachment: None, Gathering())
    request, number = pb.GenerateRequest(model="m", text="x" * 2**21), attachment.number()
    call = LinkCall(number, request, cast("Any", None), attachment, lambda: made)
    attachment.start(call, link_pb2.StartCall(call=number, generate=request))
    assert attachment.next() is None
    assert (call.sent, call.mute) == (False, False)
    attachment.take(link_pb2.AttachResponse(largest_start=largest))
    frame = attachment.next()
    assert (call.sent, call.mute) == (True, largest <= 2**21)
    if largest > 2**21:
        assert frame is not None
        assert {piece.call for piece in frame.pieces} == {number}
    else:
        assert frame is None


async def test_who_waits_behind_large_starts_is_not_stalled() -> None:
    """Each piece that goes tells that the line moves: of a start behind it no worker can say anything."""
    attachment = Attachment(Noted(), "127.0.0.1:1", lambda load: None, lambda attachment: None, Gathering())
    attachment.take(link_pb2.AttachResponse(largest_start=2**24))
    sinks = []
    for _ in range(3):
        request, number = pb.GenerateRequest(model="m", text="x" * 2**21), attachment.number()
        sinks.append(Seen())
        call = LinkCall(number, request, sinks[-1], attachment, cast("Any", None))
        attachment.start(call, link_pb2.StartCall(call=number, generate=request))
    for _ in range(3):
        attachment.next()
    beats = [sink.beats for sink in sinks]
    assert beats[0] == []
    assert beats[1]
    assert len(beats[2]) >= len(beats[1])
    assert all(beats[1] + beats[2])


async def test_what_was_not_written_was_not_sent() -> None:
    """A call that ends before its frame was made never left the gateway."""
    attachment = Attachment(Noted(), "127.0.0.1:1", lambda load: None, lambda attachment: None, Gathering())
    calls = []
    for _ in range(2):
        request, number = pb.GenerateRequest(model="m"), attachment.number()
        calls.append(LinkCall(number, request, cast("Any", None), attachment, cast("Any", None)))
        attachment.start(calls[-1], link_pb2.StartCall(call=number, generate=request))
    calls[0].cancel()
    attachment.next()
    assert [call.sent for call in calls] == [False, True]


class Weighed:
    """A large start that counts how often its bytes are counted."""

    def __init__(self, call: int) -> None:
        self.call = call
        self.weighed = 0

    def ByteSize(self) -> int:
        """Serialize it, as a message does for this."""
        self.weighed += 1
        return 2**23


async def test_a_start_that_waits_costs_those_behind_it_nothing() -> None:
    """A message's bytes are counted by writing it out, on the event loop."""
    attachment = Attachment(Noted(), "127.0.0.1:1", lambda load: None, lambda attachment: None, Gathering())
    attachment.take(link_pb2.AttachResponse(largest_start=MAX_MESSAGE_BYTES))
    starts = []
    for _ in range(50):
        number = attachment.number()
        request = pb.GenerateRequest(model="m")
        call = LinkCall(number, request, cast("Any", None), attachment, cast("Any", None))
        starts.append(Weighed(number))
        attachment.start(call, cast("link_pb2.StartCall", starts[-1]))
    assert [start.weighed for start in starts] == [1] * 50
