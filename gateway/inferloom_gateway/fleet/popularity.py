"""Which instructions many prompts have in common. Pure; time is given in."""

import math
from collections import OrderedDict

HALF_LIFE_S = 30.0
"""After so long a request counts half."""

MOST_KEYS = 65_536
"""Keys that are counted; beyond them the one that was not asked for longest is forgotten."""


DOUBT = 10.0
"""Requests of other kinds that are assumed before there were any."""


class Popularity:
    """The part that each key has in the requests of late."""

    def __init__(self) -> None:
        self._counts: OrderedDict[int, tuple[float, float]] = OrderedDict()
        self._total = (0.0, 0.0)

    def note(self, key: int, now: float) -> float:
        """Count a request; return its key's part in all, above 0 and at most 1."""
        count = self._counts.get(key, (0.0, now))
        aged = _aged(count, now) + 1
        self._counts[key] = aged, now
        self._counts.move_to_end(key)
        if len(self._counts) > MOST_KEYS:
            self._counts.popitem(last=False)
        total = _aged(self._total, now) + 1
        self._total = total, now
        return min(1.0, aged / (total + DOUBT))


def _aged(count: tuple[float, float], now: float) -> float:
    return count[0] * math.exp2(-max(0.0, now - count[1]) / HALF_LIFE_S)
