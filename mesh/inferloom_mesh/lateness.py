"""How late an event loop runs what is due: what every request on it waits for, whatever else it waits for."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from inferloom_mesh.metrics import Metrics

TICK_S = 0.05
"""Time between two measurements, each of which wakes the process. Work that holds the loop for B seconds
shows as at least B − TICK_S, or not at all if it takes less."""

BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Upper bounds of the histogram's buckets but the last, which has none."""

NOTE_S = 0.2
"""A delay that is worth a line in the log. A busy machine has them, with nobody at fault."""

WARN_S = 1.0
"""A delay that is worth a warning: every request has waited so long."""

RECENT_S = 300.0
"""What is recent: one to two of these long."""

_QUIET_S = 60.0
"""Shortest time between two such lines."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lateness:
    """Delays, as a histogram. Pure."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    """Delays in each bucket."""
    worst_s: float = 0.0
    total_s: float = 0.0
    _worst_now_s: float = 0.0
    _worst_before_s: float = 0.0
    _until: float = float("-inf")
    """When the time that is measured now is over, and becomes that before."""

    def add(self, delay_s: float, now: float = 0.0) -> None:
        """Count a delay; ``now`` is in seconds, of any clock that goes on."""
        place = next((i for i, bound in enumerate(BOUNDS_MS) if delay_s * 1e3 <= bound), len(BOUNDS_MS))
        self.counts[place] += 1
        self.worst_s = max(self.worst_s, delay_s)
        self.total_s += delay_s
        if now >= self._until:
            self._worst_before_s = self._worst_now_s if now < self._until + RECENT_S else 0.0
            self._worst_now_s = 0.0
            self._until = now + RECENT_S
        self._worst_now_s = max(self._worst_now_s, delay_s)

    @property
    def recent_s(self) -> float:
        """The longest delay of the last five to ten minutes."""
        return max(self._worst_before_s, self._worst_now_s)

    @property
    def ticks(self) -> int:
        """Delays in all."""
        return sum(self.counts)

    def buckets(self) -> Iterator[tuple[int | None, int]]:
        """The bound in milliseconds, None where there is none, and the count of each bucket."""
        yield from zip((*BOUNDS_MS, None), self.counts, strict=True)

    def quantile_ms(self, share: float) -> float:
        """A bound in milliseconds that at least ``share`` of the delays, in (0, 1], keep."""
        left = share * self.ticks
        for bound, count in self.buckets():
            left -= count
            if left <= 0 and bound is not None:
                return min(float(bound), self.worst_s * 1e3)
        return self.worst_s * 1e3


class LoopMonitor:
    """Measures the running loop from :meth:`start` to :meth:`stop`.

    Args:
        clock: Monotonic seconds. Not the loop's own, which stands still while the loop does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lateness = Lateness()
        self._clock = clock
        self._due = 0.0
        self._told = float("-inf")
        self._untold: list[float] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure from now on."""
        self._due = self._clock() + TICK_S
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """Measure no more, and log what was measured. Stopping twice does nothing."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        lateness = self.lateness
        log.info(
            "event loop: of %d ticks 99%% were at most %.1f ms late, the worst %.1f ms",
            lateness.ticks,
            lateness.quantile_ms(0.99),
            lateness.worst_s * 1e3,
        )

    def measure(self, metrics: Metrics) -> None:
        """Add what is measured to a process's metrics."""
        lateness = self.lateness
        metrics.read_histogram(
            "inferloom_event_loop_delay_seconds",
            "How late the event loop ran what was due: every request on it waited as long.",
            [bound / 1e3 for bound in BOUNDS_MS],
            lambda: [*lateness.counts, lateness.total_s],
        )

    def _tick(self) -> None:
        now = self._clock()
        delay = max(0.0, now - self._due)
        self.lateness.add(delay, now)
        if delay >= NOTE_S:
            self._untold.append(delay)
            self._tell(now)
        self.start()

    def _tell(self, now: float) -> None:
        """Log the delays since the last line, unless that was a moment ago."""
        if now - self._told < _QUIET_S:
            return
        worst = max(self._untold)
        log.log(
            logging.WARNING if worst >= WARN_S else logging.INFO,
            "the event loop stood still %s, for up to %.0f ms; the machine is busy, or something holds it",
            "once" if len(self._untold) == 1 else f"{len(self._untold)} times",
            worst * 1e3,
        )
        self._told = now
        self._untold.clear()
