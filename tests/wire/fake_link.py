"""The multiplexed link of a scripted worker: what it answers by single calls, on a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2, registry_pb2
from inferloom.v1.link_pb2_grpc import LinkServiceServicer
from inferloom_mesh.context import KEY
from inferloom_mesh.durations import seconds
from inferloom_mesh.interceptor import told
from inferloom_mesh.pieces import LARGEST_PIECE, PieceBox, cut
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from inferloom_mesh.status import rich_status

BEAT_S = 0.5
"""How often it says which calls it reads."""

_METHODS = {
    "generate": "Generate",
    "embed": "Embed",
    "rerank": "Rerank",
    "tokenize": "Tokenize",
    "detokenize": "Detokenize",
    "get_tokenizer": "GetTokenizer",
}


class FakeLink(LinkServiceServicer):
    """Serves Attach with the methods of ``worker``, an event a frame."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.streams: list[FakeStream] = []
        """Those that are open."""
        self.frames: list[link_pb2.AttachRequest] = []
        """All that came."""

    async def Attach(
        self, requests: AsyncIterator[link_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[link_pb2.AttachResponse]:
        """Carry calls."""
        stream = FakeStream(self, context)
        self.streams.append(stream)
        self.worker.attached.set()
        reading = asyncio.create_task(stream.read(requests))
        beating = asyncio.create_task(stream.beat())
        try:
            largest = self.worker.largest_start
            yield link_pb2.AttachResponse(load=registry_pb2.Load(), largest_start=largest)
            while (frame := await stream.outgoing.get()) is not None:
                yield frame
        finally:
            self.streams.remove(stream)
            reading.cancel()
            beating.cancel()
            stream.end()


class FakeContext:
    """What a method asks of its call."""

    def __init__(self, start: link_pb2.StartCall, stream: Any) -> None:
        self._sent = start.context
        self._stream = stream

    def invocation_metadata(self) -> tuple[tuple[str, bytes | str], ...]:
        """As that of a single call."""
        return (*self._stream.invocation_metadata(), (KEY, self._sent.SerializeToString()))

    def peer(self) -> str:
        """Whose connection it is."""
        peer: str = self._stream.peer()
        return peer

    def time_remaining(self) -> float | None:
        """Seconds until the call's deadline."""
        return seconds(self._sent.time_left) if self._sent.HasField("time_left") else None


class FakeStream:
    """One gateway's stream."""

    def __init__(self, link: FakeLink, context: Any) -> None:
        self.outgoing: asyncio.Queue[link_pb2.AttachResponse | None] = asyncio.Queue()
        self._link = link
        self._context = context
        self._calls: dict[int, FakeCall] = {}
        self._pieces = PieceBox(MAX_MESSAGE_BYTES)

    async def read(self, requests: AsyncIterator[link_pb2.AttachRequest]) -> None:
        """Take in what the gateway sends."""
        async for frame in requests:
            self._link.frames.append(frame)
            for start in frame.starts:
                self._start(start)
            for piece in frame.pieces:
                if (whole := self._pieces.add(piece)) is not None:
                    self._start(link_pb2.StartCall.FromString(whole))
            for credit in frame.credits:
                if (call := self._calls.get(credit.call)) is not None:
                    call.grant(credit)
            for number in frame.cancels:
                self._pieces.drop(number)
                if (call := self._calls.pop(number, None)) is not None:
                    call.task.cancel()
        self.outgoing.put_nowait(None)

    async def beat(self) -> None:
        """Say which calls are read."""
        while True:
            await asyncio.sleep(BEAT_S)
            reading = [number for number, call in self._calls.items() if call.reading]
            if reading:
                self.outgoing.put_nowait(link_pb2.AttachResponse(reading=reading))

    def end(self) -> None:
        """End all calls."""
        for call in self._calls.values():
            call.task.cancel()

    def _start(self, start: link_pb2.StartCall) -> None:
        context = FakeContext(start, self._context)
        self._calls[start.call] = FakeCall(start, self._link.worker, self.outgoing.put_nowait, context)


class FakeCall:
    """One call."""

    def __init__(
        self,
        start: link_pb2.StartCall,
        worker: Any,
        send: Callable[[link_pb2.AttachResponse], None],
        context: Any,
    ) -> None:
        self.number = start.call
        self.reading = True
        """Whether it has no event."""
        self.events, self.bytes = start.events, start.bytes
        self._granted = asyncio.Event()
        self._send = send
        self.task = asyncio.create_task(self._run(start, worker, context))

    def grant(self, credit: link_pb2.Credit) -> None:
        """Take more credit."""
        self.events += credit.events
        self.bytes += credit.bytes
        self._granted.set()

    async def _run(self, start: link_pb2.StartCall, worker: Any, context: Any) -> None:
        kind = start.WhichOneof("request") or ""
        answer = getattr(worker, _METHODS[kind])(getattr(start, kind), context)
        end = link_pb2.CallEnd(call=self.number)
        try:
            if kind in ("generate", "embed"):
                async with aclosing(answer) as events:
                    async for event in events:
                        await self._post(kind, event)
            else:
                await self._post(kind, await answer)
        except Exception as failure:
            status = rich_status(told(failure, kind))
            end = link_pb2.CallEnd(
                call=self.number, code=status.code, message=status.message, details=status.details
            )
        self.reading = False
        self._send(link_pb2.AttachResponse(ends=[end]))

    async def _post(self, kind: str, event: Any) -> None:
        self.reading = False
        inner = event.WhichOneof("event") if kind in ("generate", "embed") else ""
        whole = link_pb2.CallEvent(call=self.number)
        getattr(whole, kind).CopyFrom(event)
        data = whole.SerializeToString()
        plain = inner == "delta" and len(data) <= LARGEST_PIECE
        if plain:
            plain = not (event.delta.reasoning or event.delta.tool_calls or event.delta.logprobs)
        delta = event.delta if plain else pb.Delta()
        size = 64 + 4 * (len(delta.text) + len(delta.token_ids)) if plain else len(data)
        if inner not in ("heartbeat", "completed"):
            while self.events <= 0 or self.bytes <= 0:
                self._granted.clear()
                await self._granted.wait()
            self.events -= 1
            self.bytes -= size
        frame = link_pb2.AttachResponse()
        if len(data) > LARGEST_PIECE:
            for index, last, part in cut(data):
                piece = link_pb2.EventPiece(call=self.number, index=index, last=last, data=part)
                self._send(link_pb2.AttachResponse(pieces=[piece]))
        elif plain:
            columns = frame.deltas
            columns.call.append(self.number)
            columns.choice.append(delta.choice)
            columns.token_index.append(delta.token_index)
            columns.token_count.append(len(delta.token_ids))
            columns.token_ids.extend(delta.token_ids)
            columns.text.append(delta.text)
            self._send(frame)
        else:
            self._send(link_pb2.AttachResponse(closing=[whole]))
        await asyncio.sleep(0)  # as gRPC does between two writes
