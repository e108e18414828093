"""The books on calls to workers: how many run, and how they went."""

from collections.abc import Callable

from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_mesh.errors import overloaded


class Ledger:
    """Counts calls in flight and keeps each worker's record."""

    def __init__(
        self, fleet: Fleet, connections: Connections, max_in_flight: int, clock: Callable[[], float]
    ) -> None:
        self._fleet = fleet
        self._connections = connections
        self._max_in_flight = max_in_flight
        self._clock = clock
        self.in_flight = 0

    def enter(self, member: Member) -> None:
        """Count a call before it is sent.

        Raises:
            InferloomError: As many calls as the gateway takes are in flight.
        """
        if self.in_flight >= self._max_in_flight:
            raise overloaded("The gateway has as many requests as it takes.")
        self.in_flight += 1
        member.in_flight += 1

    def leave(self, member: Member) -> None:
        """Count a call that ended."""
        self.in_flight -= 1
        member.in_flight -= 1

    def good(self, member: Member) -> None:
        """Note a call that the worker answered."""
        member.health.succeeded(self._clock())

    def bad(self, member: Member, verdict: Verdict) -> None:
        """Note a call that failed."""
        if verdict.lost:
            self._connections.lost(member)
        if verdict.blamed and member.health.failed():
            self._fleet.eject(member, self._clock())
