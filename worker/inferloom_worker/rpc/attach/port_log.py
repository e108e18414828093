"""Lines of the log about connections that were ended."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LINES_PER_S = 10
"""Most lines in a second; of the others the number is. Whoever reaches the port could fill the disk."""


class PortLog:
    """Writes warnings, and not too many.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = float("-inf")
        self._written = self._left_out = 0

    def warn(self, words: str, *about: object) -> None:
        """Write a line."""
        now = self._clock()
        if now - self._second >= 1.0:
            left_out, self._second, self._written, self._left_out = self._left_out, now, 0, 0
            if left_out:
                log.warning("%d further lines about connections to the link's port", left_out)
        if self._written < LINES_PER_S:
            self._written += 1
            log.warning(words, *about)
        else:
            self._left_out += 1
