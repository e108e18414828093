"""The one way to speak to a worker. Nothing past it knows how calls travel."""

from typing import Any, Protocol, TypeVar

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.fleet.connections import Line
from inferloom_mesh.context import CallContext

EventT = TypeVar("EventT", covariant=True)

UnaryRequest = pb.RerankRequest | pb.TokenizeRequest | pb.DetokenizeRequest | pb.GetTokenizerRequest


class CallFailedError(Exception):
    """A call to a worker failed."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.error.message)
        self.verdict = verdict


class EventSource(Protocol[EventT]):
    """One call that runs on a worker."""

    async def read(self) -> EventT | None:
        """Return the next event; None after the last. One read at a time.

        Raises:
            CallFailedError: The call failed, or was aborted.
        """

    def abort(self, verdict: Verdict) -> None:
        """End the call; the read that waits, or the next one, fails with ``verdict``."""

    def cancel(self) -> None:
        """End the call, which nobody reads any more. Ending one that is over does nothing."""


class WorkerLink(Line, Protocol):
    """What a gateway asks of one worker. Starting a call does not wait; how it goes is read from it."""

    def generate(self, request: pb.GenerateRequest, context: CallContext) -> EventSource[pb.GenerateResponse]:
        """Start a generation."""

    def embed(self, request: pb.EmbedRequest, context: CallContext) -> EventSource[pb.EmbedResponse]:
        """Start an embedding."""

    def unary(self, request: UnaryRequest, context: CallContext) -> EventSource[Any]:
        """Start a call that has one response, of the type that belongs to the request."""
