"""A gateway's end of an attachment, which holds every frame to the rules of the contract."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from inferloom.v1 import context_pb2, link_pb2
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.link_pb2_grpc import LinkServiceStub
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S
from tests.wire.link_connection import LinkConnection
from tests.wire.running_worker import RunningWorker

LARGEST_FRAME = 2**20
LARGEST_PIECE = 2**18

_FREE = ("heartbeat", "completed")


@dataclass(eq=False)
class Linked:
    """One call of a test's."""

    number: int
    credit: list[int]
    """Events and bytes that may still come."""
    generous: bool
    """Whether credit is given back as events come."""
    events: list[Any] = field(default_factory=list)
    columns: int = 0
    """How many events came in columns."""
    pieces: list[bytes] = field(default_factory=list)
    end: link_pb2.CallEnd | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def error(self) -> InferloomError:
        """What it failed with; fail if it did not."""
        assert self.end is not None
        assert self.end.code
        status = status_pb2.Status(code=self.end.code, message=self.end.message, details=self.end.details)
        raised = grpc.aio.AioRpcError(
            next(code for code in grpc.StatusCode if code.value[0] == self.end.code),
            grpc.aio.Metadata(),
            grpc.aio.Metadata(*rpc_status.to_status(status).trailing_metadata),
            self.end.message,
        )
        return from_rpc_error(raised)

    def text(self) -> str:
        """All text of it."""
        return "".join(each.delta.text for each in self.events if each.WhichOneof("event") == "delta")

    def kinds(self) -> list[str]:
        """What kinds of events came."""
        return [each.WhichOneof("event") for each in self.events]


class Link:
    """An attachment to a worker. Frames are taken in as they come."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.calls: dict[int, Linked] = {}
        self.frames: list[link_pb2.AttachResponse] = []
        self.failure: BaseException | None = None
        self.came = asyncio.Event()
        """Set when a frame comes."""
        self._numbers = itertools.count(1)
        self._sending = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())

    async def start(
        self,
        request: Any,
        *,
        events: int = 64,
        size: int = 2**18,
        generous: bool = True,
        number: int | None = None,
        **context: Any,
    ) -> Linked:
        """Begin a call."""
        linked = Linked(next(self._numbers) if number is None else number, [events, size], generous)
        self.calls[linked.number] = linked
        await self.send(
            link_pb2.AttachRequest(starts=[start_call(linked.number, request, events, size, **context)])
        )
        return linked

    async def start_all(self, requests: Sequence[Any], **context: Any) -> list[Linked]:
        """Begin calls with one frame."""
        calls, starts = [], []
        for request in requests:
            linked = Linked(next(self._numbers), [64, 2**18], generous=True)
            self.calls[linked.number] = linked
            calls.append(linked)
            starts.append(start_call(linked.number, request, 64, 2**18, **context))
        await self.send(link_pb2.AttachRequest(starts=starts))
        return calls

    async def send(self, request: link_pb2.AttachRequest | bytes) -> None:
        """Send a frame, or what is none."""
        async with self._sending:  # a stream takes one message at a time
            await self.call.write(request)

    async def grant(self, linked: Linked, events: int, size: int = 2**18) -> None:
        """Give a call credit."""
        linked.credit[0] += events
        linked.credit[1] += size
        credit = link_pb2.Credit(call=linked.number, events=events, bytes=size)
        await self.send(link_pb2.AttachRequest(credits=[credit]))

    async def until(self, linked: Linked, holds: Callable[[Linked], bool]) -> Linked:
        """Wait until something holds of a call."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(linked):
                if self.failure is not None:
                    raise self.failure
                linked.changed.clear()
                await linked.changed.wait()
        return linked

    async def over(self, linked: Linked) -> Linked:
        """Wait until a call is over."""
        return await self.until(linked, lambda call: call.end is not None)

    async def run(self, request: Any, **options: Any) -> Linked:
        """A call to its end."""
        return await self.over(await self.start(request, **options))

    async def ended(self) -> BaseException | None:
        """Wait until the stream is over; what it failed with."""
        await asyncio.wait({self._reading}, timeout=PATIENCE_S)
        assert self._reading.done()
        return self.failure

    async def _read(self) -> None:
        try:
            async for frame in self.call:
                await self._take(frame)
        except (Exception, asyncio.CancelledError) as failure:
            self.failure = failure
            for linked in self.calls.values():
                linked.changed.set()

    async def _take(self, frame: link_pb2.AttachResponse) -> None:
        assert frame.ByteSize() <= LARGEST_FRAME
        back: dict[int, list[int]] = {}
        self.frames.append(frame)
        self.came.set()
        for number, event, size in unpacked(frame):
            linked = self.calls.get(number)
            if linked is None:
                continue
            if isinstance(event, link_pb2.EventPiece):
                assert len(event.data) <= LARGEST_PIECE
                assert event.index == len(linked.pieces)
                linked.pieces.append(event.data)
                if not event.last:
                    continue
                whole = link_pb2.CallEvent.FromString(b"".join(linked.pieces))
                assert len(linked.pieces) > 1
                linked.pieces.clear()
                event, size = getattr(whole, str(whole.WhichOneof("event"))), whole.ByteSize()
            if isinstance(event, link_pb2.CallEnd):
                assert linked.end is None
                linked.end = event
                linked.changed.set()
                continue
            assert not linked.pieces, "an event came between the parts of one"
            assert linked.end is None
            if not (isinstance(event, pb.GenerateResponse) and event.WhichOneof("event") in _FREE):
                assert min(linked.credit) > 0, "an event came without credit"
                linked.credit[0] -= 1
                linked.credit[1] -= size
                if linked.generous:
                    given = back.setdefault(number, [0, 0])
                    given[0] += 1
                    given[1] += size
            linked.columns += size != 0 and number in frame.deltas.call
            linked.events.append(event)
            linked.changed.set()
        if back:
            credits = [link_pb2.Credit(call=n, events=e, bytes=b) for n, (e, b) in back.items()]
            for number, (events, size) in back.items():
                self.calls[number].credit[0] += events
                self.calls[number].credit[1] += size
            await self.send(link_pb2.AttachRequest(credits=credits))


def unpacked(frame: link_pb2.AttachResponse) -> list[tuple[int, Any, int]]:
    """The entries of a frame in their order: call, event and what it counts as in bytes."""
    found: list[tuple[int, Any, int]] = []
    columns, at = frame.deltas, 0
    lists = (columns.call, columns.token_index, columns.token_count, columns.text)
    assert len({len(each) for each in lists}) == 1
    assert len(columns.choice) in (0, len(columns.call))
    choices = columns.choice or [0] * len(columns.call)
    assert len(set(zip(columns.call, choices, strict=True))) == len(choices), "two entries of a choice"
    found += [_event(each) for each in frame.opening]
    for call, choice, index, count, text in zip(
        columns.call, choices, columns.token_index, columns.token_count, columns.text, strict=True
    ):
        ids = columns.token_ids[at : at + count]
        at += count
        delta = pb.Delta(choice=choice, token_index=index, token_ids=ids, text=text)
        found.append((call, pb.GenerateResponse(delta=delta), 64 + 4 * (len(text) + count)))
    assert at == len(columns.token_ids)
    found += [_event(each) for each in frame.closing]
    found += [(each.call, each, 0) for each in frame.pieces]
    found += [(each.call, each, 0) for each in frame.ends]
    return found


def _event(event: link_pb2.CallEvent) -> tuple[int, Any, int]:
    return event.call, getattr(event, str(event.WhichOneof("event"))), event.ByteSize()


def start_call(number: int, request: Any, events: int, size: int, **context: Any) -> link_pb2.StartCall:
    """The message that begins a call, by the type of its request."""
    start = link_pb2.StartCall(
        call=number, events=events, bytes=size, context=context_pb2.CallContext(**context)
    )
    for each in link_pb2.StartCall.DESCRIPTOR.oneofs_by_name["request"].fields:
        if each.message_type is request.DESCRIPTOR:
            getattr(start, each.name).CopyFrom(request)
    return start


@asynccontextmanager
async def attached(
    worker: RunningWorker, transport: str = "grpc", secret: str = "", **options: Any
) -> AsyncIterator[Link]:
    """Attach to a worker until the context ends, by ``grpc`` or, with ``tcp``, at its link's own port."""
    if transport == "tcp":
        address = (await worker.status()).worker.link_address
        link = Link(await LinkConnection.open(address, secret))
    else:
        stub: Any = LinkServiceStub(worker.channel)
        link = Link(stub.Attach(**options))
    try:
        yield link
    finally:
        link.call.cancel()
        await link.ended()


def joined(events: list[Any]) -> list[Any]:
    """Events of a Generate call without what depends on when it was read: Deltas of a choice that follow one
    another are one, and heartbeats and times are left out."""
    found: list[Any] = []
    open_deltas: dict[int, pb.Delta] = {}
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "heartbeat":
            continue
        copy = type(event)()
        copy.CopyFrom(event)
        if kind == "completed":
            copy.completed.ClearField("timings")
        if kind == "delta":
            before = open_deltas.get(copy.delta.choice)
            if before is not None and copy.delta.token_ids:
                assert copy.delta.token_index == before.token_index + len(before.token_ids)
                before.text += copy.delta.text
                before.reasoning += copy.delta.reasoning
                before.token_ids.extend(copy.delta.token_ids)
                before.logprobs.extend(copy.delta.logprobs)
                before.tool_calls.extend(copy.delta.tool_calls)
                continue
            if copy.delta.token_ids:
                open_deltas[copy.delta.choice] = copy.delta
        found.append(copy)
    return found
