"""Which workers one call may have: now, at a time, or not. Pure; time is given in."""

import math
from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.calls.continuing import Continuing
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.calls.tried import Tried
from inferloom_gateway.fleet.ask import Ask, Wanted
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.router import Router


class May(Enum):
    """What one call may do with one worker."""

    NOW = "now"
    """Ask it."""
    LAST = "last"
    """Ask it where nobody else may be: it has said to others that it takes none now."""
    TURN = "turn"
    """Have it in its turn among suspects."""
    ROOM = "room"
    """Ask it again once it has room: it has told this call that it has none."""
    REST = "rest"
    """Ask it again in a while: it has told this call that it does not go on with it, or cannot serve the
    model."""
    NOT = "not"
    """Nothing, as things stand: it cannot be reached, has failed it, or has not what is wanted."""


class Outlook(NamedTuple):
    """What there is to choose from."""

    members: Sequence[Member]
    """The workers that compute alike; where it resumes, those that can go on with it."""
    barred: Collection[Member] = ()
    """Those of them that it may not ask now."""
    in_turn: Sequence[Member] = ()
    """Those of these that it may have in its turn."""
    waits: bool = False
    """Whether there are such, or some that it may ask again in a while, which have not said that they cannot
    serve the model."""


class Prospects:
    """One call's.

    Args:
        fleet: The workers.
        router: Knows what a worker must have.
        pin: Keeps the request's parts on workers that compute the same.
        suspicion: Whether it takes turns with other suspects.
        continuing: Whether it has begun, and who can go on with it.
        ask: What it asks.
    """

    def __init__(
        self,
        fleet: Fleet,
        router: Router,
        pin: ComputePin,
        suspicion: Suspicion,
        continuing: Continuing,
        ask: Ask,
    ) -> None:
        self.tried = Tried(ask.model)
        """Where it has been, and what it was told there."""
        self._fleet = fleet
        self._router = router
        self._pin = pin
        self._suspicion = suspicion
        self._continuing = continuing
        self._ask = ask

    def wanted(self, now: float) -> Wanted:
        """What a worker must have."""
        return self._router.wanted(self._ask, now)

    def may(self, member: Member, wanted: Wanted, now: float) -> tuple[May, float]:
        """What it may do with a worker, and from when on it may ask it, as far as that is known: infinite
        where it is not."""
        tried, health, model = self.tried, member.health, wanted.model
        if not member.usable or not wanted.by(member):
            return May.NOT, math.inf
        if member in tried:
            if not tried.crowded(member):
                return May.NOT, math.inf
            until = health.full_until(model, now)
            return May.ROOM, now if until is None else until
        if (rests_until := tried.rests_until(member, now)) is not None:
            return May.REST, rests_until
        if self._suspicion.keeps_from([member], now):
            return May.TURN, math.inf
        if health.refuses(model, now):
            until = health.full_until(model, now)
            return May.LAST, math.inf if until is None else until
        return May.NOW, now

    def look(self, now: float) -> Iterator[tuple[Member, May, float]]:
        """The same for each worker that computes alike; where it resumes, that can go on with it."""
        wanted = self.wanted(now)
        for member in self._members(wanted):
            yield member, *self.may(member, wanted, now)

    def outlook(self, now: float) -> Outlook:
        """What there is to choose from now."""
        wanted, resuming = self.wanted(now), self._continuing.resuming
        members = self._members(wanted)
        if not resuming:
            self._believe(members, now)
        if not self.tried and not self._suspicion.suspect:
            return Outlook(members)  # the router leaves out what may not be asked in any case
        unable = self.tried.unable
        found = [(member, self.may(member, wanted, now)[0]) for member in members]
        in_turn = [member for member, may in found if may is May.TURN]
        rests = any(may is May.REST and (resuming or member not in unable) for member, may in found)
        barred = {member for member, may in found if may not in (May.NOW, May.LAST)}
        return Outlook(members, barred, in_turn, bool(in_turn) or rests)

    def candidates(self, now: float) -> list[Member]:
        """The workers that it may be given, now or in its turn."""
        self.tried.forgive_absent()
        return [member for member, may, _ in self.look(now) if may in (May.NOW, May.LAST, May.TURN)]

    def full_s(self, now: float) -> float | None:
        """In how many seconds a worker may be asked, where all that could be have no room; None: one may be
        asked now, or there is none."""
        times = []
        for _, may, at in self.look(now):
            if may in (May.NOW, May.TURN) and not self.tried.must_wait:
                return None
            if may in (May.ROOM, May.LAST) and at < math.inf:
                times.append(at)
        return max(0.0, min(times) - now) if times else None

    def untried(self, now: float) -> list[Member]:
        """The workers that may have it, as far as they compute alike."""
        return self._untried(self.wanted(now))

    def serving(self, now: float) -> list[Member]:
        """The workers that are there and have what is wanted, whatever they said to this call."""
        wanted = self.wanted(now)
        return [each for each in self._fleet.holding(wanted.model) if each.usable and wanted.by(each)]

    def may_come(self, now: float) -> bool:
        """Whether a worker that serves what is wanted may come: one that does is known, or none of the
        model's is."""
        wanted = self.wanted(now)
        holding = self._fleet.holding(wanted.model)
        return not holding or any(map(wanted.by, holding)) or self._fleet.remembers(wanted, now)

    def away(self, now: float) -> bool:
        """Whether no worker is there that serves what is wanted, as far as is known or was said to it."""
        unable = self.tried.unable
        return all(member in unable for member in self.serving(now))

    def refused_until(self, now: float) -> float | None:
        """When the first worker may be asked again, where each that has what is wanted is there and has only
        said that it cannot now. None: one may come back that is lost, stopping or starting."""
        wanted, times = self.wanted(now), []
        for member in self._fleet.holding(wanted.model):
            if not wanted.by(member):
                continue
            may, at = self.may(member, wanted, now)
            if may is not May.REST:
                return None
            times.append(at)
        return min(times, default=None)

    def _same(self) -> Sequence[Member]:
        """Those that compute what has answered other parts of the request, or what was left."""
        model = self._ask.model
        return self._pin.narrow(self._fleet.holding(model), model, self.tried.lost)

    def _untried(self, wanted: Wanted) -> list[Member]:
        tried = self.tried
        return [each for each in self._same() if each.usable and each not in tried and wanted.by(each)]

    def _members(self, wanted: Wanted) -> Sequence[Member]:
        return self._continuing.able(self._untried(wanted)) if self._continuing.resuming else self._same()

    def _believe(self, members: Sequence[Member], now: float) -> None:
        """Once one has said that it cannot serve the model, leave those alone as well that have lately said
        so to others: of as many workers as say so not each is asked by each call."""
        tried = self.tried
        if not tried.unable:
            return
        for member in members:
            until = member.health.unable_until(self._ask.model, now)
            if until is not None and member not in tried and tried.rests_until(member, now) is None:
                tried.cannot(member)
                tried.rest(member, until)
