"""The attempts at one call: how each goes, and when it is over."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from inferloom.v1 import inference_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.absences import Absences
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.calls.delivery import Delivery
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, UnaryRequest
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Attempt, Candidate, Record
from inferloom_gateway.calls.retry_budget import RetryBudget
from inferloom_gateway.calls.selection import Selection
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason

AnyRequest = inference_pb2.GenerateRequest | inference_pb2.EmbedRequest | UnaryRequest

_BEFORE_SPAN, _BEHIND_SPAN = 36, 52
"""Where a traceparent names its span."""


class Attempts:
    """Has workers selected for one call, one after another, and keeps the books on them.

    A worker that fails is tried once. What is tried again draws from the gateway's retry budget, but for one
    attempt for each worker, and each of its epochs, that gets no more calls itself: of these there are no
    more than workers that ended, times the calls that they had.

    Args:
        selection: Which worker is next.
        in_flight: Is told how they do.
        budget: Bounds attempts after the first.
        listener: Is told of each attempt.
        record: The request's record.
        pin: Is told what computes the request's parts.
        suspicion: Is told where the request is, and what became of its workers.
        absences: Is told of workers that accept calls.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        selection: Selection,
        in_flight: InFlight,
        budget: RetryBudget,
        listener: Listener,
        record: Record,
        pin: ComputePin,
        suspicion: Suspicion,
        absences: Absences,
        clock: Callable[[], float],
    ) -> None:
        self._in_flight = in_flight
        self._budget = budget
        self._listener = listener
        self._record = record
        self._delivery = Delivery(record, listener, in_flight, suspicion, clock)
        self.frame = self._delivery.frame
        """Notes an event with so many tokens or vectors."""
        self._pin = pin
        self._suspicion = suspicion
        self._absences = absences
        self._clock = clock
        self._continuing = selection.continuing
        self.selection = selection
        """Which worker is next."""
        self._tried = selection.tried
        self._carried = False
        """Whether it counts among the calls that the gateway carries."""
        self._warned = False
        """Whether the worker that was chosen last was known to take no such calls."""
        self._chosen: inference_pb2.Model | None = None
        """The card of the worker that was chosen last, as it was then."""

    def next(self) -> Member | None:
        """Choose a worker, and count the call that will be made to it as in flight. None: there is none now
        that may have it, and there may be one soon.

        Raises:
            InferloomError: There is none, or the request's time is over.
        """
        now, record = self._clock(), self._record
        self._suspicion.begin()
        choice = self.selection.choose(now)
        left = record.context.time_left(now)
        if left is not None and left <= 0:
            raise InferloomError(
                Reason.TIMEOUT, "The request's time was over before a worker had answered it."
            )
        if choice is None:
            return None
        member = choice.member
        if not self._carried:
            self._in_flight.admit()
            self._carried = True
        self._in_flight.enter(member)
        self._suspicion.enter(member, now)
        self._chosen = member.models.get(record.model)
        self._warned = member.health.refuses(record.model, now)
        self._pin.lead(member, record.model)
        candidates = tuple(Candidate(*each) for each in choice.seen)
        before = self._delivery.attempt
        chosen = Attempt(member.id, member.epoch, candidates, now - record.began, bool(self._tried))
        chosen.address = member.address
        chosen.after = "" if before is None else before.span_id
        self._delivery.begin(chosen)
        return member

    # what turns among those that wait are given by

    @property
    def suspect(self) -> bool:
        """Whether it takes turns on a worker with others like it."""
        return self._suspicion.suspect

    @property
    def alone(self) -> bool:
        """Whether its turn is for it alone."""
        return self._suspicion.alone

    @property
    def slowness(self) -> float:
        """For how long the request's first token was, or has been, waited for, in seconds."""
        first = self._record.first_token_s
        return self._delivery.now() if first is None else first

    @property
    def kept_from(self) -> Sequence[Member]:
        """The workers that it could not have when it last asked for one, but may have in its turn."""
        return self.selection.kept_from

    def candidates(self) -> Sequence[Member]:
        """The workers that may be given the call, now or in its turn."""
        return self.selection.prospects.candidates(self._clock())

    def asks_again_at(self) -> float:
        """When the call that was given no worker is to ask again, whatever happens until then."""
        return self.selection.asks_again_at(self._clock())

    # how the attempt that runs goes

    def context(self, request: AnyRequest) -> CallContext:
        """What goes along with the attempt that was chosen last, for ``request``."""
        record, running = self._record, self._delivery.attempt
        assert running is not None, "a worker was chosen"
        self._listener.on_called(record, running, request)
        context = record.context
        if not running.span_id:
            return context
        here = f"{context.traceparent[:_BEFORE_SPAN]}{running.span_id}{context.traceparent[_BEHIND_SPAN:]}"
        return replace(context, traceparent=here)

    def accepted(self, member: Member, compute_hash: str) -> None:
        """Note that the worker has accepted the call.

        Raises:
            CallFailedError: It computes differently from the worker that has accepted another part of the
                request.
        """
        if not self._pin.accept(compute_hash, member.models.get(self._record.model)):
            raise CallFailedError(attempt.differs())
        self._record.compute_hash = self._pin.hash
        member.health.accepted(self._record.model)
        self._absences.answered(self._record.model, member)
        self._tried.can(member)
        self.selection.wait.ended()
        self._continuing.begun(self._chosen)  # by now the worker may say that it holds the model no more
        move = self._continuing.moved(member.id, self._delivery.now())
        if move is not None:
            self._record.moves.append(move)
            self._listener.on_moved(self._record, move)
        self._delivery.accepted(member)

    def completed(
        self, usage: "inference_pb2.Usage", timings: "inference_pb2.Timings", ends: Sequence[int] = ()
    ) -> None:
        """Note that a streamed call has ended well, what it used, and why its choices ended."""
        self._record.finish_reasons.extend(ends)
        self._delivery.completed(usage, timings)

    def answered(self) -> None:
        """Note that the call has ended well."""
        self._delivery.answered()

    def want(self, wanted: bool) -> None:
        """Note whether anybody wants something of its worker, which has changed."""
        self._delivery.want(wanted)

    def close(self) -> None:
        """Forget the call, which is over. Again, it changes nothing."""
        self._delivery.left()
        if self._carried:
            self._carried = False
            self._in_flight.release()

    # what follows where it fails

    @property
    def resuming(self) -> bool:
        """Whether it is to go on behind what its caller has."""
        return self._continuing.resuming

    def resumes(self) -> bool:
        """Whether there is, or may be, a worker that goes on with what another has begun."""
        return self._continuing.may_move(self.selection.prospects.untried(self._clock()))

    def moves(self, place: int | None) -> None:
        """Note that the call fails on its worker when its caller has ``place`` tokens, behind which another
        has to go on. None: nothing that ties the rest to them."""
        if self._continuing.leaves(place, self._delivery.attempt if self._delivery.was_accepted else None):
            self._tried.forget()  # where it has come on since, trying again is no storm
            self.selection.wait.ended()

    def failed(self, member: Member, verdict: Verdict, *, final: bool = False) -> None:
        """Note that the call has failed; return if another worker is to be tried, which ``final`` excludes.

        Raises:
            InferloomError: It is not.
        """
        now = self._clock()
        if verdict.suspect:
            self._suspicion.lost(member, now, self._continuing.place or 0)
        self.broke_off(member, verdict)
        self.selection.said(verdict.error)
        crowded = verdict.error.reason is Reason.SERVER_OVERLOADED
        over = final or not verdict.elsewhere or self._suspicion.over
        if self.resuming and verdict.again_s and not self.selection.wait.asks_again(now):
            verdict, over = replace(verdict, error=attempt.worker_lost()), True
        if not over and not self._may_retry(member, verdict):
            self._tried.must_wait = crowded
            over = not crowded
        if over:
            raise self._suspicion.barred() or verdict.error.kept()
        self.selection.pass_over(member, verdict, now)

    def broke_off(self, member: Member, verdict: Verdict) -> None:
        """Note that the call has failed, where nothing follows: all that was asked for was there."""
        self._delivery.failed(verdict.error, verdict.cause)
        if verdict.error.reason is Reason.SERVER_OVERLOADED and self._record.context.stands_back:
            verdict = replace(verdict, not_now_s=0.0)  # there may be room for others
        self._in_flight.failed(member, self._record.model, verdict)

    def _may_retry(self, member: Member, verdict: Verdict) -> bool:
        if verdict.again_s and (self.resuming or verdict.unable):
            return True  # as often as its waiting allows
        now = self._clock()
        ends = verdict.free or member.ejected(self._record.model, now)
        news = not (verdict.again_s and self._warned)
        return (ends and news and self._tried.frees(member)) or self._budget.take(now)
