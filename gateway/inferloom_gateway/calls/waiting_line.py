"""Who waits at the gateway for a worker to have room, whose turn it is, and who need not wait at all. Pure;
time is given in.

It evens out moments in which every worker is full; what is more than that is refused at once. Tenants take
turns, and within one the first to come is the first to go.
"""

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from inferloom_mesh.errors import InferloomError, overloaded

DEPARTURES = 32
"""So many of the last ends of calls tell how fast places become free."""

CAUTION = 2
"""A request is let in if it has time for so many times as long a wait as is estimated: calls end in clumps,
and who was let in is not to be refused late."""

PATIENCE = 2
"""It waits for so many times as long as it was to wait at most, where the estimate was wrong all the same."""

FACTOR = 2
"""So many times as many may wait in all as may wait ahead of anybody."""

LEAST_RETRY_S = 0.1


@dataclass(eq=False, slots=True)
class Place:
    """One request's place in the line."""

    tenant: str
    until: float
    """When it has waited long enough."""


def no_room(retry_s: float) -> InferloomError:
    """The error where every worker is full, for the next ``retry_s`` seconds at least."""
    message = "Every worker of the model has as many requests as it takes."
    return overloaded(message, max(LEAST_RETRY_S, retry_s))


class WaitingLine:
    """The line before the workers of one model that can take requests of one kind.

    Args:
        most: Requests that may be ahead of one that comes.
        most_s: Seconds that it may have to wait, as far as can be told.
    """

    def __init__(self, most: int, most_s: float) -> None:
        self._most = most
        self._most_s = most_s
        self._tenants: dict[str, deque[Place]] = {}
        """Who wait, by tenant; the first is the one whose turn it is."""
        self._first: deque[Place] = deque()
        """Who have had their turn, and found no room."""
        self._departures: deque[float] = deque(maxlen=DEPARTURES)

    def __len__(self) -> int:
        return len(self._first) + sum(map(len, self._tenants.values()))

    @property
    def until(self) -> float:
        """When the place whose turn it is has waited long enough; infinite: nobody waits."""
        if self._first:
            return self._first[0].until
        return next((places[0].until for places in self._tenants.values()), math.inf)

    def departed(self, now: float) -> None:
        """Note that a call ended, so that there may be room for another."""
        self._departures.append(now)

    def wait_s(self, ahead: int, now: float) -> float | None:
        """How long somebody with so many ahead of him will wait; None: that cannot be told."""
        if len(self._departures) < 2 or now <= self._departures[0]:
            return None
        return (ahead + 1) * (now - self._departures[0]) / (len(self._departures) - 1)

    def join(
        self,
        tenant: str,
        now: float,
        left_s: float | None,
        retry_s: float,
        others: "Sequence[WaitingLine]" = (),
    ) -> Place:
        """Take a place at the end.

        Args:
            tenant: Whose request it is.
            now: The time.
            left_s: Seconds until its deadline; None: it has none.
            retry_s: When a worker said that it would have room, in seconds from now: what is known while no
                calls have ended.
            others: The model's other lines: how many may wait is for all of them together.

        Raises:
            InferloomError: SERVER_OVERLOADED: it would wait too long, or too many do.
        """
        lines = (self, *others)
        wait = self.wait_s(_ahead((self,), tenant), now)
        if wait is None:
            wait = retry_s
        most_s = self._most_s if left_s is None else min(self._most_s, left_s)
        full = _ahead(lines, tenant) >= self._most or sum(map(len, lines)) >= FACTOR * self._most
        if full or CAUTION * wait > most_s:
            raise no_room(max(retry_s, CAUTION * wait - most_s))
        place = Place(tenant, now + PATIENCE * self._most_s)
        self._tenants.setdefault(tenant, deque()).append(place)
        return place

    def again(self, place: Place) -> None:
        """Let a place that had its turn, and found no room, wait before all others."""
        self._first.append(place)

    def next(self) -> Place | None:
        """Take out the place whose turn it is; None: nobody waits."""
        if self._first:
            return self._first.popleft()
        if not self._tenants:
            return None
        tenant = next(iter(self._tenants))
        places = self._tenants.pop(tenant)
        place = places.popleft()
        if places:
            self._tenants[tenant] = places  # behind the others
        return place

    def leave(self, place: Place) -> None:
        """Give a place up, if it still is one."""
        if place in self._first:
            self._first.remove(place)
        elif place in (places := self._tenants.get(place.tenant, deque())):
            places.remove(place)
            if not places:
                del self._tenants[place.tenant]

    def count(self, numbers: Counter[str]) -> int:
        """Add up how many wait, by tenant; the number of those who had their turn, and go before all."""
        for name, places in self._tenants.items():
            numbers[name] += len(places)
        return len(self._first)


def _ahead(lines: Sequence[WaitingLine], tenant: str) -> int:
    numbers: Counter[str] = Counter()
    first = sum(line.count(numbers) for line in lines)
    own = numbers.pop(tenant, 0)
    return first + own + sum(min(number, own + 1) for number in numbers.values())
