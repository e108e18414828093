"""What a supervisor does when it is told to stop."""

import asyncio
import signal
from collections.abc import Callable

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager, and a terminal that was closed."""


class StopSignals:
    """The first signal sets ``stop``; each later one calls ``at_once``. Needs a running event loop."""

    def __init__(self, at_once: Callable[[], None]) -> None:
        self.stop = asyncio.Event()
        self.first: signal.Signals | None = None
        self._at_once = at_once
        for number in STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, self._take, number)

    def _take(self, number: signal.Signals) -> None:
        if self.first is None:
            self.first = number
            self.stop.set()
        else:
            self._at_once()
