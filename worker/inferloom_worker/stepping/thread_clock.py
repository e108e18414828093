"""How long a thread computes, for other threads to see."""

import contextlib
import threading
import time
from collections.abc import Callable


class ThreadClock:
    """Counts from when a thread makes it: the processor time that it takes from then on.

    Where the system does not tell that of other threads, as on macOS, it is the time that passes.
    """

    __slots__ = ("_began", "_read")

    def __init__(self) -> None:
        self._read = _reader()
        self._began = self._read()

    @property
    def seconds(self) -> float:
        """Those so far. 0.0 where the thread has ended."""
        with contextlib.suppress(OSError):
            return self._read() - self._began
        return 0.0


def _reader() -> Callable[[], float]:
    found = getattr(time, "pthread_getcpuclockid", None)
    if found is None:
        return time.monotonic
    clock: int = found(threading.get_ident())
    return lambda: time.clock_gettime(clock)
