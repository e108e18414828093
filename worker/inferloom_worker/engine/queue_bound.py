"""How long a new request would wait for its turn, and whether that is too long. Pure; time is given in.

A request that would be answered too late is refused at once, while its caller can still go elsewhere: past
saturation a queue without such a bound adds waiting and nothing else. The wait is that of a queue with
several servers by Little's law: who is ahead, over the rate at which places become free, which is their
number over the mean service time. The mean is the time that places were taken over the number that became
free, so that what still runs counts too, and answers that grow longer are noticed before they end.
"""

from collections.abc import Iterable

from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_mesh.light_dataclasses import dataclass

MEMORY = 64
"""Places that became free and are remembered in full; older ones fade."""

FACTOR = 2
"""So many times as many may wait in all as may wait ahead of anybody."""

LEAST_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sequence that waits."""

    tenant: str
    priority: int


class QueueBound:
    """Decides who may still join a queue.

    Args:
        most: Sequences that may be ahead of one that comes.
        most_s: Seconds that it may have to wait, as far as can be told.
    """

    def __init__(self, most: int, most_s: float) -> None:
        self._most = most
        self._most_s = most_s
        self._taken_s = 0.0
        self._freed = 0.0
        self._last: float | None = None

    def passed(self, running: int, freed: int, now: float) -> None:
        """Note that until ``now`` so many places were taken, and that so many of them are free now."""
        if self._last is not None:
            self._taken_s += running * max(0.0, now - self._last)
        self._last = now
        self._freed += freed
        if self._freed >= 2 * MEMORY:
            self._freed /= 2
            self._taken_s /= 2

    @property
    def service_s(self) -> float | None:
        """How long a sequence has a place on average; None: that is not known yet."""
        return self._taken_s / self._freed if self._freed else None

    def wait_s(self, ahead: int, running: int, places: int) -> float | None:
        """How long somebody with so many ahead of him would wait; None: that cannot be told."""
        if (rank := ahead + 1 - max(0, places - running)) <= 0:
            return 0.0
        service = self.service_s
        return None if service is None else rank * service / max(1, places)

    def check(
        self, count: int, ahead: int, waiting: int, running: int, places: int, left_s: float | None
    ) -> None:
        """Let a request of ``count`` sequences in.

        Args:
            count: Its sequences.
            ahead: How many that wait would go first (:func:`ahead_of`).
            waiting: How many wait in all.
            running: How many have a place.
            places: How many places there are.
            left_s: Seconds until its deadline; None: it has none.

        Raises:
            InferloomError: SERVER_OVERLOADED, or WAIT_TOO_LONG where it is the deadline that is too near;
                ``retry_after`` is when that will be over, as far as can be told.
        """
        wait = self.wait_s(ahead + count - 1, running, places)
        waits = ahead + count > max(0, places - running)
        if waits and (ahead + count > self._most or waiting + count > FACTOR * self._most):
            raise overloaded(f"{waiting} requests are waiting already.", self._retry_s(wait, places))
        if wait is None:
            return
        if wait > self._most_s:
            message = f"A request would wait for about {wait:.0f} s now, and {self._most_s:g} s is the most."
            raise overloaded(message, max(LEAST_RETRY_S, wait - self._most_s))
        if left_s is not None and wait > left_s:
            message = f"The request would wait for about {wait:.1f} s, and has {max(0.0, left_s):.1f} s left."
            late_s = max(LEAST_RETRY_S, wait - left_s)
            raise InferloomError(Reason.WAIT_TOO_LONG, message, retry_after=late_s)

    def _retry_s(self, wait: float | None, places: int) -> float:
        """When there will be room where the number is what is in the way."""
        if wait is None or self.service_s is None:
            return 1.0
        return max(LEAST_RETRY_S, wait - self._most * self.service_s / max(1, places))


def ahead_of(tenant: str, priority: int, waiting: Iterable[Waiting], count: int = 1) -> int:
    """How many that wait go before the last of ``count`` new ones of a tenant, where tenants take turns: all
    of his own, and of each other as many as he then has, none of them with a lower priority."""
    numbers: dict[str, int] = {}
    for each in waiting:
        if each.priority >= priority:
            numbers[each.tenant] = numbers.get(each.tenant, 0) + 1
    own = numbers.pop(tenant, 0)
    return own + sum(min(number, own + count) for number in numbers.values())
