"""In-flight accounting: how many calls are carried, and what those that ended say about their workers."""

import logging
from collections.abc import Callable

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.link import WorkerLink
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.tally import EJECTION_S, Tally
from inferloom_gateway.fleet.worker_health import Due
from inferloom_mesh.errors import Reason, overloaded

log = logging.getLogger(__name__)


class InFlight:
    """Counts calls in flight and keeps each worker's record.

    A call counts from when it is first given a worker until it is over: one that moves, or waits for another
    worker, is carried all the same, and whoever comes then takes nobody's place.
    """

    def __init__(
        self,
        fleet: Fleet,
        connections: Connections[WorkerLink],
        max_in_flight: int,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._connections = connections
        self._max_in_flight = max_in_flight
        self._clock = clock
        self.count = 0
        """Calls that the gateway carries."""

    def admit(self) -> None:
        """Count a call before it is first sent.

        Raises:
            InferloomError: As many calls as the gateway takes are in flight.
        """
        if self.count >= self._max_in_flight:
            raise overloaded("The gateway has as many requests as it takes.")
        self.count += 1

    def release(self) -> None:
        """Count a call that is over."""
        self.count -= 1

    def enter(self, member: Member) -> None:
        """Count a call that is sent to a worker."""
        member.in_flight += 1
        for slow in self._fleet.compare(self._clock()):
            term = _term(slow.health.own)
            log.warning("worker %s is ejected: much slower than its peers (%s)", slow.id, term)

    def leave(self, member: Member) -> None:
        """Count a call that has ended there."""
        member.in_flight -= 1

    def succeeded(self, member: Member, model: str) -> None:
        """Note that a worker did some of what it was asked for."""
        member.health.succeeded(self._clock(), member.own_name(model))

    def failed(self, member: Member, model: str, verdict: Verdict) -> None:
        """Note a call that failed."""
        now = self._clock()
        if verdict.lost:
            self._connections.lost(member)
        if verdict.not_now_s:
            full = verdict.error.reason is Reason.SERVER_OVERLOADED
            if verdict.cause == attempt.NOT_LET_IN and not member.health.refuses(model, now):
                log.warning("worker %s at %s takes no calls of this gateway", member.id, member.address)
            member.health.not_now(model, now + verdict.not_now_s, full=full)
        if verdict.blamed:
            self._blame(member, member.own_name(model) if verdict.of_model else None, now)

    def _blame(self, member: Member, model: str | None, now: float) -> None:
        """Count a failure against a worker, or one of its models alone."""
        health = member.health
        due = Due(health.failed(now), model=False) if model is None else health.model_failed(now, model)
        if due.worker and self._fleet.eject(member, now):
            log.warning("worker %s is ejected: its calls fail (%s)", member.id, _term(health.own))
        elif due.model and model is not None and self._fleet.eject_model(member, model, now):
            term = _term(health.models[model])
            log.warning("worker %s is ejected from model %s, which fails there (%s)", member.id, model, term)


def _term(tally: Tally) -> str:
    return f"for {EJECTION_S * tally.ejections:g} s"
