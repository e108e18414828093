"""Which worker takes a request. Pure; time is given in.

Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2016), with a key of two levels. What
prompts share, such as instructions, is hashed to as many workers as its part in the traffic asks for; among
these, the part that only a conversation's own turns share decides. So conversations stay where their state
is, instructions fill the caches of some workers only, and much-used ones do not pin everything to one worker.
Gateways that know nothing of each other choose alike.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from inferloom_gateway.fleet.ask import NOTHING, Ask, Wanted
from inferloom_gateway.fleet.group import Group
from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.members import Fleet
from inferloom_gateway.fleet.placements import Placements
from inferloom_gateway.fleet.popularity import Popularity
from inferloom_gateway.fleet.prompt_keys import PromptKeys
from inferloom_gateway.fleet.ring import mix
from inferloom_gateway.fleet.standing import GOOD, LAST, NONE, WILLING, Level, Standing

MOST_SHOWN = 16
"""Workers that a choice tells of."""

_WHOLE = 2.0**64


class Tuning(NamedTuple):
    """The router's numbers; what they were chosen by is in docs/decisions."""

    bound: float = 1.25
    """How far over its share of the load a worker may go before requests spill over to the next."""
    spare: float = 2.0
    """Requests beyond its share that a worker may have in any case."""
    held_bound: float = 2.0
    """The same for the worker that is likely to hold a conversation's state."""
    held_spare: float = 8.0
    """The same."""
    choices: int = 2
    """Workers between which a conversation that begins is decided by load."""
    spread: float = 2.0
    """How many times as many workers as its part in the traffic asks for a shared beginning gets."""


class Choice(NamedTuple):
    """A worker, and between which it was chosen."""

    member: Member
    seen: tuple[tuple[str, float], ...]
    """Names, and loads in relation to weighted capacities, of the first workers that were considered."""


class Router:
    """Chooses workers.

    Args:
        fleet: The workers.
        zone: Where this gateway is: workers there are preferred while they have room. Empty: nowhere.
        tuning: The numbers.
    """

    def __init__(self, fleet: Fleet, zone: str = "", tuning: Tuning | None = None) -> None:
        self._fleet = fleet
        self._zone = zone
        self._tuning = tuning or Tuning()
        self._popularity = Popularity()
        self._placements = Placements()
        self._turn = 0

    def choose(
        self, ask: Ask, members: Sequence[Member], now: float, tried: Collection[Member] = ()
    ) -> Choice | None:
        """Pick one of ``members``, which hold the model, but none of ``tried``; None: none takes requests.

        Workers that something speaks against are only used when there is no other, and those that have just
        said 'not now' for this model only after these. Where some honour what the request asks,
        others get none.
        """
        group = self._fleet.group(ask.model)
        wanted = self.wanted(ask, now)
        level = partial(_level, wanted, tried, now)
        whole = group is not None and members is group.members
        if whole and group is not None and not tried:
            if self._zone and (local := group.zone(self._zone)) is not None:
                standing = local.standing.fresh(local.members, level, wanted, now)
                if standing.level == GOOD and standing.load < standing.room:
                    near = self._pick(ask, local, local.members, level, standing, now)
                    if near is not None:  # of counts that are a moment old it may be nobody
                        return near
            standing = group.standing.fresh(group.members, level, wanted, now)
            chosen = self._pick(ask, group, group.members, level, standing, now)
            if chosen is not None:
                return chosen
        standing = Standing()
        standing.count(members, level, ask.model, now)
        return self._pick(ask, group or Group(tuple(members)), members, level, standing, now)

    def wanted(self, ask: Ask, now: float) -> Wanted:
        """What workers must have to be given the request, of what not all of them do. What none honours, and
        none did that may be back, keeps it from none: they say so themselves."""
        fleet, model = self._fleet, ask.model
        task = None if ask.task in fleet.common.get(model, ()) else ask.task
        uneven = fleet.uneven.get(model)
        needs = ask.needs(uneven) if uneven else NOTHING
        wanted = Wanted(model, task, needs)
        if not needs or any(map(wanted.by, fleet.holding(model))) or fleet.remembers(wanted, now):
            return wanted
        return wanted._replace(needs=NOTHING)

    def _pick(
        self,
        ask: Ask,
        group: Group,
        members: Sequence[Member],
        level: Level,
        standing: Standing,
        now: float,
    ) -> Choice | None:
        if standing.level == NONE:
            return None
        if len(members) == 1:
            (member,) = members
            return Choice(member, ((member.id, member.load / member.capacity),)) if level(member) else None
        if ask.keys is None:
            return self._least(ask.model, members, level, standing, now)
        keys = ask.keys()
        choice = self._by_keys(ask.model, keys, group, members, level, standing, now)
        if choice is not None:
            self._placements.note(keys.own, choice.member)
        return choice

    def _by_keys(
        self,
        model: str,
        keys: PromptKeys,
        group: Group,
        members: Sequence[Member],
        level: Level,
        standing: Standing,
        now: float,
    ) -> Choice | None:
        tuning, top = self._tuning, standing.top or 1.0
        share = (standing.load + 1) / standing.room
        room = standing.load < standing.room  # then no request waits where another worker would take it
        allowed = None if members is group.members else set(members)
        home = self._placements.get(keys.own)
        holds = home is not None or keys.later  # whether the first in order is likely to have the state
        wide, order = self._order(keys, group, level, standing, now)
        if home is not None and home in group.ring:
            order = chain((home,), (member for member in order if member is not home))
        within = wide if wide < len(group.ring) else 0
        left = min(tuning.choices, wide)  # a worker beyond these has nothing of the prompt
        seen: list[tuple[str, float]] = []
        least: tuple[float, Member] | None = None
        best: tuple[float, Member] | None = None
        for member in order:
            if allowed is not None and member not in allowed:
                continue
            if level(member) < standing.level:
                holds = False
                continue
            weight = member.weight(model, now)
            over = member.load / (member.capacity * weight)
            if len(seen) < MOST_SHOWN:
                seen.append((member.id, over))
            if least is None or over < least[0]:
                least = over, member
            # A worker that gets less than others takes part of the keys, the same ones from all gateways.
            if weight < top and mix(keys.own ^ member.hash ^ 1) >= weight / top * _WHOLE:
                holds = False
                continue
            fair, part = share * member.capacity * weight, min(1.0, weight / top)
            if room and over >= 1:
                holds = False
                continue
            held = holds or within > 0
            within -= 1
            bound, spare = (tuning.held_bound, tuning.held_spare) if held else (tuning.bound, tuning.spare)
            if member.load < max(bound * fair, fair + spare * part):
                if holds:
                    return Choice(member, tuple(seen))
                if best is None or over < best[0]:
                    best = over, member
                left -= 1
                if not left:
                    break
            holds = False
        best = best or least
        return None if best is None else Choice(best[1], tuple(seen))

    def _order(
        self, keys: PromptKeys, group: Group, level: Level, standing: Standing, now: float
    ) -> tuple[int, Iterator[Member]]:
        """How many workers prompts with the same shared key have, and all workers in the order in which they
        come into question."""
        ring = group.ring
        if not keys.shared:
            return len(ring), ring.walk(keys.own)
        part = self._popularity.note(keys.shared, now)
        wide = 1
        while wide < part * self._tuning.spread * len(ring):
            wide *= 2  # in few steps, each of which moves half of the conversations at most
        if 2 * wide > len(ring):
            return len(ring), ring.walk(keys.own)
        return wide, _within(ring.walk(keys.shared), wide, keys.own, level, standing.level)

    def _least(
        self, model: str, members: Sequence[Member], level: Level, standing: Standing, now: float
    ) -> Choice | None:
        """The worker with the least to do; among many, the best of some that take turns."""
        self._turn += 1
        count = len(members)
        some: Sequence[Member] = members
        if count > 4 * MOST_SHOWN:
            some = [members[mix(self._turn * MOST_SHOWN + each) % count] for each in range(MOST_SHOWN)]
        least = standing.level
        found = _ranked(model, some, level, least, now) or _ranked(model, members, level, least, now)
        if not found:
            return None
        seen = tuple((member.id, load) for load, _, _, member in found[:MOST_SHOWN])
        return Choice(found[0][3], seen)


def _ranked(
    model: str, members: Sequence[Member], level: Level, least: int, now: float
) -> list[tuple[float, int, str, Member]]:
    """Workers by their load in relation to weighted capacity, the least loaded first."""
    return sorted(
        ((m.load + 1) / (m.capacity * m.weight(model, now)), m.in_flight, m.id, m)
        for m in members
        if level(m) >= least
    )


def _within(walk: Iterator[Member], wide: int, own: int, level: Level, least: int) -> Iterator[Member]:
    """The first ``wide`` workers that come into question, as the own key orders them, and then the others."""
    first: list[Member] = []
    for member in walk:
        if level(member) >= least:
            first.append(member)
            if len(first) == wide:
                break
    first.sort(key=lambda member: mix(own ^ member.hash), reverse=True)
    yield from first
    yield from walk


def _level(wanted: Wanted, tried: Collection[Member], now: float, member: Member) -> int:
    """How much speaks for a worker."""
    if not member.usable or member in tried or not wanted.by(member):
        return NONE
    if member.health.refuses(wanted.model, now):
        return LAST
    return GOOD if member.preferred(wanted.model, now) else WILLING
