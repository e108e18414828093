"""One generation of a resumable stream, and how a stream's log has its events."""

from typing import Protocol

from inferloom.v1.inference_pb2 import GenerateRequest, GenerateResponse
from inferloom_gateway.calls.attempt import worker_lost
from inferloom_gateway.calls.call_group import GenerateStream
from inferloom_gateway.calls.generation_progress import GenerationProgress
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError


def logged(event: bytes, number: int, of: int) -> bytes:
    """An event as the log has it: behind one byte, the number of its generation, where there are several."""
    return event if of == 1 else bytes((number,)) + event


def read(data: bytes, of: int) -> tuple[int, GenerateResponse]:
    """An event of a log of so many generations, with the number of its own."""
    if of == 1:
        return 0, GenerateResponse.FromString(data)
    return data[0], GenerateResponse.FromString(data[1:])


class Writer(Protocol):
    """Writes what generations come to."""

    def add(self, number: int, event: GenerateResponse) -> None:
        """Write the next event of a generation."""

    def ended(self, error: InferloomError | None) -> None:
        """Learn that a generation is over."""


class Generation:
    """An :class:`~inferloom_gateway.calls.sink.EventSink` of one generation. What is written already is not
    written again.

    Args:
        number: Which of the stream's it is, from 0.
        request: What was asked for at first.
    """

    def __init__(self, number: int, request: GenerateRequest) -> None:
        self.asked = request
        self._number = number
        self._progress = GenerationProgress(request)
        self._stream: GenerateStream | None = None
        self._writer: Writer | None = None

    def know(self, event: GenerateResponse) -> None:
        """Take note of an event that is written."""
        self._progress.take(event)

    def rest(self) -> GenerateRequest | None:
        """The request behind the events that are written; None: they are all.

        Raises:
            InferloomError: Nobody can go on behind them.
        """
        progress = self._progress
        if progress.told_as_text and not progress.completed:
            raise worker_lost()
        return progress.rest()

    def begin(self, stream: GenerateStream) -> None:
        """Have it made."""
        self._stream = stream

    @property
    def is_made(self) -> bool:
        """Whether there is more of it to come."""
        return self._stream is not None

    def push_to(self, writer: Writer) -> None:
        """Have what is made written."""
        assert self._stream is not None
        self._writer = writer
        self._stream.push_to(self)

    def pause(self) -> None:
        """Want no events for now."""
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        """Want events."""
        if self._stream is not None:
            self._stream.resume()

    # the generation's sink

    def take(self, event: GenerateResponse) -> None:
        """Take the next event."""
        kind = event.WhichOneof("event")
        if kind == "heartbeat":
            return
        prompt = self._prompt() if kind == "started" else ()
        seen = self._progress.take(event)
        if seen is not None:
            if prompt:
                seen.started.prompt_token_ids.extend(prompt)  # for who goes on with it
            self._add(seen)

    def tokens(self, tokens: Tokens) -> None:
        """Take the next Delta."""
        if self._progress.tokens(tokens) is not None:
            self._add(tokens.event())

    def end(self, error: InferloomError | None) -> None:
        """Take the end."""
        writer, self._writer = self._writer, None  # it holds this generation
        assert writer is not None
        writer.ended(error)

    def _add(self, event: GenerateResponse) -> None:
        assert self._writer is not None
        self._writer.add(self._number, event)

    def _prompt(self) -> list[int]:
        progress = None if self._stream is None else self._stream.progress
        return list(progress.prompt) if isinstance(progress, GenerationProgress) else []
