"""The attempts at one call: which worker is next, and when it is over."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from inferloom.v1 import inference_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.absences import Absences
from inferloom_gateway.calls.absent import absent
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.calls.continuing import Continuing
from inferloom_gateway.calls.delivery import Delivery
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, UnaryRequest
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.prospects import Prospects
from inferloom_gateway.calls.records import Attempt, Candidate, Record
from inferloom_gateway.calls.retry_budget import RetryBudget
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.calls.wait import Wait
from inferloom_gateway.fleet.ask import Ask, Wanted
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.router import Choice, Router
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason

AnyRequest = inference_pb2.GenerateRequest | inference_pb2.EmbedRequest | UnaryRequest

_BEFORE_SPAN, _BEHIND_SPAN = 36, 52
"""Where a traceparent names its span."""

LONGEST_REST_S = 1.0
"""How long a worker is not asked that would not go on with it just then."""


class Attempts:
    """Chooses the workers of one call, one after another, and keeps the books on them.

    A worker that fails is tried once. What is tried again draws from the gateway's retry budget, but for one
    attempt for each worker, and each of its epochs, that gets no more calls itself: of these there are no
    more than workers that ended, times the calls that they had.

    Args:
        fleet: The workers.
        router: Chooses among them.
        in_flight: Is told how they do.
        budget: Bounds attempts after the first.
        listener: Is told of each attempt.
        record: The request's record.
        pin: Keeps the request's parts on workers that compute the same.
        suspicion: Whether the request may be what ends workers.
        absences: Whether it waits for a worker to come.
        ask: What the request asks of a worker.
        task_name: What its model must be able to do, for people.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        fleet: Fleet,
        router: Router,
        in_flight: InFlight,
        budget: RetryBudget,
        listener: Listener,
        record: Record,
        pin: ComputePin,
        suspicion: Suspicion,
        absences: Absences,
        *,
        ask: Ask,
        task_name: str,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._router = router
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
        self._wait = Wait(fleet, absences, record.model)
        self._ask = ask
        self._task_name = task_name
        self._clock = clock
        self._continuing = Continuing(ask)
        self._prospects = Prospects(fleet, router, pin, suspicion, self._continuing, ask)
        self._tried = self._prospects.tried
        self._carried = False
        """Whether it counts among the calls that the gateway carries."""
        self._warned = False
        """Whether the worker that was chosen last was known to take no such calls."""
        self._chosen: inference_pb2.Model | None = None
        """The card of the worker that was chosen last, as it was then."""
        self._reason: InferloomError | None = None
        """What a worker said itself why it would not answer."""
        self.kept_from: Sequence[Member] = ()
        """The workers that it could not have when it last asked for one, but may have in its turn."""

    def next(self) -> Member | None:
        """Choose a worker, and count the call that will be made to it as in flight. None: there is none now
        that may have it, and there may be one soon.

        Raises:
            InferloomError: There is none, or the request's time is over.
        """
        now, record = self._clock(), self._record
        self._suspicion.begin()
        choice = self._choose(now)
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

    def candidates(self) -> Sequence[Member]:
        """The workers that may be given the call, now or in its turn."""
        return self._prospects.candidates(self._clock())

    def asks_again_at(self) -> float:
        """When the call that was given no worker is to ask again, whatever happens until then: a worker's
        rest is over, or its own time."""
        now, context = self._clock(), self._record.context
        left = context.time_left(now)
        times = [*self._tried.ends_of_rests(now), *([] if left is None else [now + left])]
        return min([*times, self._wait.until])

    def wanted(self) -> Wanted:
        """What a worker must have."""
        return self._prospects.wanted(self._clock())

    def away(self) -> bool:
        """Whether no worker is there that serves what is wanted, as far as is known or was said to it."""
        return self._prospects.away(self._clock())

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

    def full_s(self, now: float) -> float | None:
        """In how many seconds a worker may be asked, where all that could be have no room; None: one may be
        asked now, or there is none."""
        return self._prospects.full_s(now)

    def again(self) -> None:
        """Workers that had no room may be asked once more."""
        self._tried.again()

    def why_full(self, error: InferloomError) -> InferloomError:
        """What to tell a caller who is not to wait: a worker's own words, if one was asked."""
        said = self._reason
        return said if said is not None and said.reason is Reason.SERVER_OVERLOADED else error

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
        self._wait.ended()
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

    @property
    def resuming(self) -> bool:
        """Whether it is to go on behind what its caller has."""
        return self._continuing.resuming

    def resumes(self) -> bool:
        """Whether there is, or may be, a worker that goes on with what another has begun."""
        return self._continuing.may_move(self._prospects.untried(self._clock()))

    def moves(self, place: int | None) -> None:
        """Note that the call fails on its worker when its caller has ``place`` tokens, behind which another
        has to go on. None: nothing that ties the rest to them."""
        if self._continuing.leaves(place, self._delivery.attempt if self._delivery.was_accepted else None):
            self._tried.forget()  # where it has come on since, trying again is no storm
            self._wait.ended()

    def close(self) -> None:
        """Forget the call, which is over. Again, it changes nothing."""
        self._delivery.left()
        if self._carried:
            self._carried = False
            self._in_flight.release()

    def want(self, wanted: bool) -> None:
        """Note whether anybody wants something of its worker, which has changed."""
        self._delivery.want(wanted)

    def failed(self, member: Member, verdict: Verdict, *, final: bool = False) -> None:
        """Note that the call has failed; return if another worker is to be tried, which ``final`` excludes.

        Raises:
            InferloomError: It is not.
        """
        now = self._clock()
        if verdict.suspect:
            self._suspicion.lost(member, now, self._continuing.place or 0)
        self.broke_off(member, verdict)
        if verdict.error.reason is not Reason.WORKER_LOST:
            self._reason = verdict.error
        crowded = verdict.error.reason is Reason.SERVER_OVERLOADED
        over = final or not verdict.elsewhere or self._suspicion.over
        if self.resuming and verdict.again_s and not self._wait.asks_again(now):
            verdict, over = replace(verdict, error=attempt.worker_lost()), True
        if not over and not self._may_retry(member, verdict):
            self._tried.must_wait = crowded
            over = not crowded
        if over:
            raise self._suspicion.barred() or verdict.error.kept()
        if verdict.unable:
            self._tried.cannot(member)
        else:
            self._tried.can(member)
        if self.resuming and verdict.again_s:
            self._tried.rest(member, now + min(verdict.again_s, LONGEST_REST_S))
        elif verdict.unable and verdict.again_s:
            self._tried.rest(member, now + verdict.again_s)
        else:
            self._tried.add(member, crowded=crowded)

    def broke_off(self, member: Member, verdict: Verdict) -> None:
        """Note that the call has failed when all that was asked for was there."""
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

    def _awaits(self, now: float) -> bool:
        """Whether a call that has not begun, for which nobody is there, waits for a worker to come."""
        if self._record.context.stands_back or not self._prospects.may_come(now):
            return False
        if not self._wait.begins(self._prospects.wanted(now), now, self._prospects.refused_until(now)):
            return False
        if self._reason is not None and self._reason.reason is not Reason.NO_WORKER:
            self._reason = None  # who said so is there no more
        self._tried.again()
        return True

    def _choose(self, now: float) -> Choice | None:
        if self._tried.must_wait and self._reason is not None and self.full_s(now) is not None:
            raise self._reason.kept()  # nobody lets it wait
        outlook = self._prospects.outlook(now)
        self.kept_from = outlook.in_turn
        choice = self._router.choose(self._ask, outlook.members, now, outlook.barred)
        if choice is not None:
            if choice.member not in self._tried.unable:
                self._wait.found()
            return choice
        if outlook.waits:
            self._wait.found()
            return None
        self._tried.forgive_absent()
        if self.resuming:
            if self._wait.resumes(now):
                return None
            raise attempt.worker_lost()
        if self._prospects.away(now) and self._awaits(now):
            return None
        raise self._nobody(now)

    def _nobody(self, now: float) -> InferloomError:
        """Why it is given no worker, and waits for none."""
        if self._reason is not None:
            return self._reason.kept()
        if self._prospects.serving(now):
            return attempt.worker_lost()  # there are workers: they failed, or compute differently
        model = self._record.model
        if not self._prospects.may_come(now):
            message = f"The model '{model}' does not serve {self._task_name}."
            return InferloomError(Reason.UNSUPPORTED_TASK, message, param="model")
        return absent(self._fleet, model, now)
