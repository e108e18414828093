"""Puts the events of a generation together to a response: its items, and the typed events that tell of it."""

import time
from collections.abc import Callable, Iterator

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.translate.responses import document, namespaces
from inferloom_gateway.http.translate.responses.calls import Call, CustomCall
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.http.translate.responses.logprobs import Entry, entries
from inferloom_gateway.http.translate.responses.names import Names
from inferloom_gateway.http.translate.responses.parts import Event, Growing, Message, Seal, Thought
from inferloom_mesh.errors import InferloomError


class Assembly:
    """One response while it is made. Streamed or not, it is what this makes of the same events.

    Args:
        begun: The response so far; it is changed.
        seal: Encrypts reasoning, where that is asked for.
        clock: Seconds since 1970.
    """

    def __init__(
        self, begun: Document, seal: Seal | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.document = begun
        self.output: list[Item] = []
        """The items that are whole."""
        self.started = pb.Started()
        self._names = Names(begun["id"])
        self._namespaces = namespaces.names(begun["tools"])
        self._seal = seal
        self._clock = clock
        self._growing: Growing | None = None
        self._call = -1
        self._held: list[Entry] = []
        """Log-probabilities of tokens whose text is not final yet."""
        self._cut: dict[str, str] | None = None
        """Why it is not whole, once that is known."""

    @property
    def status(self) -> str:
        """How far the response is."""
        status: str = self.document["status"]
        return status

    def begin(self) -> Iterator[Event]:
        """The first events, before a worker has begun."""
        yield self._told("created")
        if self.status == "queued":
            yield self._told("queued")

    def add(self, event: pb.GenerateResponse) -> Iterator[Event]:
        """Fold one event of the generation in."""
        match event.WhichOneof("event"):
            case "started":
                self.started = event.started
                document.accepted(self.document, event.started)
                yield self._told("in_progress")
            case "delta":
                yield from self._delta(event.delta)
            case "finished":
                self._cut = document.cut_off(event.finished.reason)
            case "completed":
                yield from self._end(event.completed.usage)

    def fail(self, error: InferloomError) -> Iterator[Event]:
        """End a response that cannot go on."""
        yield from self._close("incomplete")
        document.failed(self.document, self.output, error)
        yield self._told("failed")

    def cancel(self) -> Iterator[Event]:
        """End a response that is given up. There is no event of its own for that."""
        yield from self._close("incomplete")
        self.document["output"] = self.output
        document.cancelled(self.document)
        yield self._told("incomplete")

    def _delta(self, delta: pb.Delta) -> Iterator[Event]:
        self._held += entries(delta.logprobs)
        if delta.reasoning:
            self._held = []
            yield from self._thought(delta.reasoning)
        if delta.text:
            yield from self._said(delta.text)
        for part in delta.tool_calls:
            self._held = []
            yield from self._called(part)

    def _thought(self, text: str) -> Iterator[Event]:
        if not isinstance(self._growing, Thought):
            yield from self._open(lambda name, index: Thought(name, index, self._seal), "reasoning")
        assert isinstance(self._growing, Thought)
        yield self._growing.more(text)

    def _said(self, text: str) -> Iterator[Event]:
        if not isinstance(self._growing, Message):
            yield from self._open(Message, "message")
        assert isinstance(self._growing, Message)
        logprobs, self._held = self._held, []
        yield self._growing.more(text, logprobs)

    def _called(self, part: pb.ToolCallDelta) -> Iterator[Event]:
        if part.index != self._call or not isinstance(self._growing, Call):
            self._call = part.index
            made = CustomCall if part.custom else Call
            space, tool = self._namespaces.get(part.name, ("", part.name))
            yield from self._open(lambda name, index: made(name, index, part.id, tool, space), made.kind)
        assert isinstance(self._growing, Call)
        if part.arguments:
            yield self._growing.more(part.arguments)

    def _open(self, make: Callable[[str, int], Growing], kind: str) -> Iterator[Event]:
        yield from self._close("completed")
        index = len(self.output)
        self._growing = make(self._names.output(kind, index), index)
        yield from self._growing.begin()

    def _close(self, status: str) -> Iterator[Event]:
        if self._growing is None:
            return
        if isinstance(self._growing, Message) and self._held:
            logprobs, self._held = self._held, []
            yield self._growing.more("", logprobs)
        yield from self._growing.end(status)
        self.output.append(self._growing.whole)
        self._growing = None

    def _end(self, usage: pb.Usage) -> Iterator[Event]:
        last = self._growing
        if (last is None and not self.output) or (isinstance(last, Thought) and self._cut is None):
            yield from self._open(Message, "message")
        yield from self._close("completed" if self._cut is None else "incomplete")
        document.ended(self.document, self.output, usage, int(self._clock()), self._cut)
        yield self._told(self.status)

    def _told(self, what: str) -> Event:
        """An event that shows the whole response."""
        return {"type": f"response.{what}", "response": dict(self.document)}
