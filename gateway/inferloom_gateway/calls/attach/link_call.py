"""One call on a worker's stream."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.broken import BrokenFrameError
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.link import CallFailedError, CallSink, RunningCall
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.status import bare

log = logging.getLogger(__name__)

EVENTS = 64
"""Credit of a call in events: what may be under way, or wait here, while nobody takes it."""

BYTES = 2**18
"""Its credit in bytes. One event may take it below zero."""

LITTLE = EVENTS // 8
"""Events from which on what a call has spent is given back when that of another is: calls that get credit
together send together, in frames that hold much."""

_SURPLUS = 2 * EVENTS
"""Events beyond its credit that are forgiven a call, because both sides may not count the very same."""

GRACE_S = 0.25
"""How long after its deadline a call ends by itself, where its worker has not said that it is late."""

CallRequest = (
    pb.GenerateRequest
    | pb.EmbedRequest
    | pb.RerankRequest
    | pb.TokenizeRequest
    | pb.DetokenizeRequest
    | pb.GetTokenizerRequest
)

KINDS: dict[type, str] = {
    pb.GenerateRequest: "generate",
    pb.EmbedRequest: "embed",
    pb.RerankRequest: "rerank",
    pb.TokenizeRequest: "tokenize",
    pb.DetokenizeRequest: "detokenize",
    pb.GetTokenizerRequest: "get_tokenizer",
}
"""The field of a start, and of an event, that belongs to each method's request."""

_STREAMS = frozenset({"generate", "embed"})
_UNCOUNTED = frozenset({"heartbeat", "completed"})


class Desk(Protocol):
    """What a call asks of its stream."""

    def credit(self, call: int, events: int, size: int) -> None:
        """Let the worker send more of a call."""

    def owe(self, call: "LinkCall") -> None:
        """Note that a call has spent a little."""

    def settle(self) -> None:
        """Give back what was spent by all that have been noted."""

    def leave(self, call: int, *, cancel: bool) -> None:
        """Forget a call; ``cancel``: which the worker is to end."""


class LinkCall:
    """A :class:`~inferloom_gateway.calls.link.RunningCall`, and the demultiplexer's entry for it.

    What comes for it is checked: events of its method, in the order that the contract says, of choices that
    were asked for, within its credit.

    Args:
        number: Its number.
        request: What is asked.
        sink: Takes its events.
        desk: Its stream.
        elsewhere: Makes the same call by itself, should the worker have no such streams.
    """

    __slots__ = (
        *(
            "_alarm",
            "_begun",
            "_desk",
            "_elsewhere",
            "_kind",
            "_moved",
            "_over",
            "_owing",
            "_paused",
            "_sent",
        ),
        *("_sink", "_spent_bytes", "_spent_events", "_width", "model", "number"),
    )

    def __init__(
        self,
        number: int,
        request: CallRequest,
        sink: CallSink[Any],
        desk: Desk,
        elsewhere: Callable[[], RunningCall],
    ) -> None:
        self.number = number
        self.model = request.model
        self._kind = KINDS[type(request)]
        self._width = (request.sampling.n or 1) if isinstance(request, pb.GenerateRequest) else 0
        self._sink = sink
        self._desk = desk
        self._elsewhere: Callable[[], RunningCall] | None = elsewhere
        self._moved: RunningCall | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._begun = self._over = self._owing = self._paused = self._sent = False
        self._spent_events = self._spent_bytes = 0

    def due(self, time_left: float) -> None:
        """End in ``time_left`` seconds, and a little more."""
        self._alarm = asyncio.get_running_loop().call_later(max(0.0, time_left) + GRACE_S, self._late)

    # the caller's

    @property
    def sent(self) -> bool:
        """Whether the worker may have some of it."""
        return self._sent if self._moved is None else self._moved.sent

    @property
    def mute(self) -> bool:
        """On a stream the worker says that it has it."""
        return self._moved is not None and self._moved.mute

    def pause(self) -> None:
        """Give no more credit for now."""
        self._paused = True
        if self._moved is not None:
            self._moved.pause()

    def resume(self) -> None:
        """Give credit for what was taken."""
        self._paused = False
        if self._moved is not None:
            self._moved.resume()
        else:
            self._settle()

    def cancel(self) -> None:
        """End it."""
        if self._moved is not None:
            self._moved.cancel()
        else:
            self._leave(cancel=True)

    # its stream's

    def went(self) -> None:
        """Note that some of it goes to the worker."""
        self._sent = True

    def take(self, event: link_pb2.CallEvent, *, own: bool) -> None:
        """Take an event; ``own``: nothing else shares its memory.

        Raises:
            BrokenFrameError: No worker sends it to this call now.
        """
        if event.WhichOneof("event") != self._kind:
            raise BrokenFrameError(f"an event of another method came for a call to {self._kind}")
        inner = getattr(event, self._kind)
        kind = self._check(inner) if self._kind in _STREAMS else ""
        counted = kind not in _UNCOUNTED
        if counted:
            self._count(event.ByteSize())
        elif self._paused and kind == "heartbeat":
            return  # nobody wants to know now
        if not own:  # or what is kept of it would keep the whole frame
            copy = type(inner)()
            copy.CopyFrom(inner)
            inner = copy
        self._elsewhere = None
        try:
            self._sink.take(inner)
        except Exception:  # a bug in what takes one call's events is none of the others'
            self._bug()
        if counted:
            self._settle()

    def tokens(self, choice: int, index: int, ids: list[int], text: str) -> None:
        """Take an entry of the columns. Raises BrokenFrameError as :meth:`take`."""
        if choice >= self._width or not self._begun:
            raise BrokenFrameError("tokens came for a choice that was not asked for, or before the start")
        spent = self._spent_events = self._spent_events + 1
        size = self._spent_bytes = self._spent_bytes + 64 + 4 * (len(text) + len(ids))
        try:
            self._sink.tokens(Tokens(choice, index, ids, text))
        except Exception:  # a bug in what takes one call's events is none of the others'
            self._bug()
        if spent % LITTLE == 0 or size >= BYTES // 2:
            self._check_credit()
            self._settle()

    def beat(self, *, moved: bool) -> None:
        """Learn that the worker lives."""
        self._sink.beat(moved=moved)

    def give_back(self) -> None:
        """Give credit for what was taken."""
        self._owing = False
        if self._spent_events and not (self._paused or self._over):
            self._desk.credit(self.number, self._spent_events, self._spent_bytes)
            self._spent_events = self._spent_bytes = 0

    def end(self, verdict: Verdict | None) -> None:
        """End as the worker, or the stream, says."""
        if not self._over:
            self._leave(cancel=False)
            self._sink.end(None if verdict is None else CallFailedError(verdict))

    def move(self) -> bool:
        """Make the call by itself, because there are no such streams; whether that was still possible."""
        if self._elsewhere is None or self._over:
            return False
        self._leave(cancel=False)
        self._moved = self._elsewhere()
        if self._paused:
            self._moved.pause()
        return True

    # inside

    def _check(self, inner: Any) -> str:
        """Check an event of a stream of events; return its kind."""
        kind: str | None = inner.WhichOneof("event")
        if kind is None or (kind == "started") is self._begun:
            raise BrokenFrameError(
                f"a call got {kind or 'nothing'} when it {'had' if self._begun else 'had not'} begun"
            )
        self._begun = True
        if kind in ("delta", "finished") and getattr(inner, kind).choice >= self._width:
            raise BrokenFrameError("an event came for a choice that was not asked for")
        return kind

    def _count(self, size: int) -> None:
        self._spent_events += 1
        self._spent_bytes += size
        self._check_credit()

    def _check_credit(self) -> None:
        if self._spent_events > EVENTS + _SURPLUS:
            raise BrokenFrameError("a call got more than it had credit for")

    def _settle(self) -> None:
        """Have credit given back once half of it is spent: until then the worker has the other half."""
        if self._paused or self._over:
            return
        if self._spent_events >= LITTLE and not self._owing:
            self._owing = True
            self._desk.owe(self)
        if self._spent_events >= EVENTS // 2 or self._spent_bytes >= BYTES // 2:
            self.give_back()
            self._desk.settle()

    def _leave(self, *, cancel: bool) -> None:
        if self._over:
            return
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._desk.leave(self.number, cancel=cancel)

    def _late(self) -> None:
        self._fail(attempt.overdue(bare(grpc.StatusCode.DEADLINE_EXCEEDED).error))

    def _bug(self) -> None:
        log.exception("an event of a worker could not be handled")
        self._fail(attempt.bug())

    def _fail(self, verdict: Verdict) -> None:
        if not self._over:
            self._leave(cancel=True)
            self._sink.end(CallFailedError(verdict))
