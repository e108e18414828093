"""A link to a worker that answers each call with one token, and who takes what it says."""

import asyncio
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.link import CallFailedError, CallSink
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.context import CallContext


class Answering:
    """A link to a worker that gives each call a token, and ends it a while later; or is lost with all."""

    def __init__(self, token_s: float) -> None:
        self.token_s = token_s
        self.open: dict[CallSink[pb.GenerateResponse], list[asyncio.TimerHandle]] = {}
        self.taken = 0

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> "AnsweringCall":
        """Take the request."""
        loop = asyncio.get_running_loop()
        self.taken += 1
        started = pb.GenerateResponse(started=pb.Started(seed=1, prompt_token_ids=[1, 2]))
        self.open[sink] = [
            loop.call_soon(sink.take, started),  # type: ignore[list-item] # can be cancelled as well
            loop.call_later(self.token_s, sink.take, delta()),
            loop.call_later(self.token_s + 4, self._end, sink),
        ]
        return AnsweringCall(self, sink)

    def lose(self) -> None:
        """Be lost with all that it has."""
        for sink in list(self.open):
            self.left(sink)
            sink.end(CallFailedError(attempt.lost()))

    def left(self, sink: CallSink[pb.GenerateResponse]) -> None:
        """A call is over."""
        for timer in self.open.pop(sink, ()):
            timer.cancel()

    async def probe(self, timeout_s: float) -> bool:
        """It does not come back."""
        await asyncio.sleep(timeout_s)
        return False

    async def close(self, grace_s: float | None) -> None:
        """There is nothing to close."""

    def _end(self, sink: CallSink[pb.GenerateResponse]) -> None:
        sink.take(pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP)))
        sink.take(pb.GenerateResponse(completed=pb.Completed()))
        self.left(sink)
        sink.end(None)


class AnsweringCall:
    """One of its calls."""

    mute = False

    def __init__(self, worker: Answering, sink: CallSink[pb.GenerateResponse], *, sent: bool = True) -> None:
        self.worker = worker
        self.sink = sink
        self.sent = sent

    def pause(self) -> None:
        """Nothing flows for long."""

    def resume(self) -> None:
        """Nothing flows for long."""

    def cancel(self) -> None:
        """Give it up."""
        self.worker.left(self.sink)


class Kept:
    """Takes a generation's events."""

    def __init__(self) -> None:
        self.tokens_seen = 0

    def add(self, event: Any) -> None:
        """Count."""
        self.tokens_seen += len(event.delta.token_ids)

    def tokens(self, tokens: Tokens) -> None:
        """Count."""
        self.tokens_seen += 1


def delta() -> pb.GenerateResponse:
    """A token."""
    return pb.GenerateResponse(delta=pb.Delta(text="x", token_ids=[1]))
