"""How much of something long has come: what is told while it comes, and how often. Pure but for the clock."""

import threading
import time
from collections.abc import Callable

Counted = Callable[[int, int | None], None]
"""Told how many bytes have come, and of how many; None: nobody knows. From any thread, often."""

EVERY_S = 10.0
"""How often words are said where no bar can be drawn."""


def uncounted(done: int, total: int | None) -> None:
    """For who does not want to know."""


def size(number: float) -> str:
    """Bytes as people read them: ``812 B``, ``4.2 MB``, ``1.23 GB``."""
    for unit, digits in (("B", 0), ("kB", 0), ("MB", 1)):
        if number < 999.5:
            return f"{number:.{digits}f} {unit}"
        number /= 1000
    return f"{number:.2f} GB"


class Sayings:
    """Makes words of amounts; a :data:`Counted`. There is a line at the beginning, one every :data:`EVERY_S`,
    and one at the end.

    Args:
        what: What comes.
        say: Takes a line.
        clock: Monotonic seconds.
    """

    def __init__(
        self, what: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._began = self._told_at = clock()
        self._told = 0

    def __call__(self, done: int, total: int | None) -> None:
        """See :data:`Counted`."""
        with self._lock:
            now = self._clock()
            if total is not None and done >= total > self._told:
                took = max(now - self._began, 1e-3)
                self._tell(done, f"{self._what}: {size(total)} fetched in {took:.0f} s")
            elif not self._told:
                self._tell(
                    done, f"{self._what}: {size(total)} to fetch" if total else f"{self._what}: fetching"
                )
                self._told_at = now
            elif now - self._told_at >= EVERY_S:
                rate = size((done - self._told) / (now - self._told_at))
                of = f" of {size(total)}" if total else ""
                self._tell(done, f"{self._what}: {size(done)}{of}, {rate}/s")
                self._told_at = now

    def _tell(self, done: int, line: str) -> None:
        self._told = done
        self._say(line)
