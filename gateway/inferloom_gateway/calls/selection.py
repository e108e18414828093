"""Which worker one call is given next. Pure; time is given in."""

from collections.abc import Sequence

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.absences import Absences
from inferloom_gateway.calls.absent import absent
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.calls.continuing import Continuing
from inferloom_gateway.calls.prospects import Prospects
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.calls.wait import Wait
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.router import Choice, Router
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason

LONGEST_REST_S = 1.0
"""How long a worker is not asked that would not go on with it just then."""


class Selection:
    """One call's: the router's choice of the workers that it may have, or why it waits for one, or has none.

    Args:
        fleet: The workers.
        router: Chooses among them.
        pin: Keeps the request's parts on workers that compute the same.
        suspicion: Whether the request may be what ends workers.
        absences: Whether it waits for a worker to come.
        context: The request's, with its time.
        ask: What the request asks of a worker.
        task_name: What its model must be able to do, for people.
    """

    def __init__(
        self,
        fleet: Fleet,
        router: Router,
        pin: ComputePin,
        suspicion: Suspicion,
        absences: Absences,
        context: CallContext,
        ask: Ask,
        task_name: str,
    ) -> None:
        self.continuing = Continuing(ask)
        """Whether it has begun, and who can go on with it."""
        self.prospects = Prospects(fleet, router, pin, suspicion, self.continuing, ask)
        """Which workers it may have."""
        self.tried = self.prospects.tried
        """Where it has been, and what it was told there."""
        self.wait = Wait(fleet, absences, ask.model)
        """Until when it waits for one."""
        self.kept_from: Sequence[Member] = ()
        """The workers that it could not have when it last asked for one, but may have in its turn."""
        self._fleet = fleet
        self._router = router
        self._context = context
        self._ask = ask
        self._task_name = task_name
        self._said: InferloomError | None = None
        """What a worker said itself why it would not answer."""

    def choose(self, now: float) -> Choice | None:
        """The worker that it is given. None: there is none now that may have it, and there may be one soon.

        Raises:
            InferloomError: There is none.
        """
        if self.tried.must_wait and self._said is not None and self.prospects.full_s(now) is not None:
            raise self._said.kept()  # nobody lets it wait
        outlook = self.prospects.outlook(now)
        self.kept_from = outlook.in_turn
        choice = self._router.choose(self._ask, outlook.members, now, outlook.barred)
        if choice is not None:
            if choice.member not in self.tried.unable:
                self.wait.found()
            return choice
        if outlook.waits:
            self.wait.found()
            return None
        self.tried.forgive_absent()
        if self.continuing.resuming:
            if self.wait.resumes(now):
                return None
            raise attempt.worker_lost()
        if self.prospects.away(now) and self._awaits(now):
            return None
        raise self._nobody(now)

    def asks_again_at(self, now: float) -> float:
        """When the call that was given no worker is to ask again, whatever happens until then: a worker's
        rest is over, or its own time."""
        left = self._context.time_left(now)
        times = [*self.tried.ends_of_rests(now), *([] if left is None else [now + left])]
        return min([*times, self.wait.until])

    def said(self, error: InferloomError) -> None:
        """Note why a worker would not answer, which is told where nobody else does."""
        if error.reason is not Reason.WORKER_LOST:
            self._said = error

    def why_full(self, error: InferloomError) -> InferloomError:
        """What to tell a caller who is not to wait: a worker's own words, if one was asked."""
        said = self._said
        return said.kept() if said is not None and said.reason is Reason.SERVER_OVERLOADED else error

    def pass_over(self, member: Member, verdict: Verdict, now: float) -> None:
        """Ask a worker no more that has failed the call; for a while only, or until it has room, where it
        said so itself."""
        if verdict.unable:
            self.tried.cannot(member)
        else:
            self.tried.can(member)
        if self.continuing.resuming and verdict.again_s:
            self.tried.rest(member, now + min(verdict.again_s, LONGEST_REST_S))
        elif verdict.unable and verdict.again_s:
            self.tried.rest(member, now + verdict.again_s)
        else:
            self.tried.add(member, crowded=verdict.error.reason is Reason.SERVER_OVERLOADED)

    def _awaits(self, now: float) -> bool:
        """Whether a call that has not begun, for which nobody is there, waits for a worker to come."""
        if self._context.stands_back or not self.prospects.may_come(now):
            return False
        if not self.wait.begins(self.prospects.wanted(now), now, self.prospects.refused_until(now)):
            return False
        if self._said is not None and self._said.reason is not Reason.NO_WORKER:
            self._said = None  # who said so is there no more
        self.tried.again()
        return True

    def _nobody(self, now: float) -> InferloomError:
        """Why it is given no worker, and waits for none."""
        if self._said is not None:
            return self._said.kept()
        if self.prospects.serving(now):
            return attempt.worker_lost()  # there are workers: they failed, or compute differently
        model = self._ask.model
        if not self.prospects.may_come(now):
            message = f"The model '{model}' does not serve {self._task_name}."
            return InferloomError(Reason.UNSUPPORTED_TASK, message, param="model")
        return absent(self._fleet, model, now)
