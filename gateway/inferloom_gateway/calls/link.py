"""The one way to speak to a worker. Nothing past it knows how calls travel."""

from typing import Any, Protocol, TypeVar

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.sink import EventSink, Flow
from inferloom_gateway.fleet.connections import Line
from inferloom_mesh.context import CallContext

EventT = TypeVar("EventT", contravariant=True)

UnaryRequest = pb.RerankRequest | pb.TokenizeRequest | pb.DetokenizeRequest | pb.GetTokenizerRequest


class CallFailedError(Exception):
    """A call to a worker failed."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.error.message)
        self.verdict = verdict

    def kept(self) -> "CallFailedError":
        """The same for keeping, as :meth:`InferloomError.kept`."""
        return CallFailedError(self.verdict)


class CallSink(EventSink[EventT, CallFailedError], Protocol[EventT]):
    """Takes what a worker sends for one call. A call that has one response has one event."""

    def beat(self, *, moved: bool) -> None:
        """Learn that the worker lives; ``moved``: that its engine has taken a step since it last said so, or
        that it reads the call's request."""


class RunningCall(Flow, Protocol):
    """One call that runs on a worker."""

    @property
    def sent(self) -> bool:
        """Whether the worker may have some of it, so that what becomes of it may be the call's doing."""

    @property
    def mute(self) -> bool:
        """Whether the worker has it and no way to say so before the first event."""

    def cancel(self) -> None:
        """End it; its sink hears no more of it. Ending one that is over does nothing."""


class WorkerLink(Line, Protocol):
    """What a gateway asks of one worker. How a call goes is told to its sink, but not before it was
    returned."""

    @property
    def transport(self) -> str:
        """What carries its calls now: ``tcp``, ``grpc`` (all on one stream), or ``call`` (each by itself)."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> RunningCall:
        """Start a generation."""

    def embed(
        self, request: pb.EmbedRequest, context: CallContext, sink: CallSink[pb.EmbedResponse]
    ) -> RunningCall:
        """Start an embedding."""

    def unary(self, request: UnaryRequest, context: CallContext, sink: CallSink[Any]) -> RunningCall:
        """Start a call that has one response, of the type that belongs to the request."""
