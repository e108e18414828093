"""How late event loops run what is due."""

import asyncio
import logging

import pytest

from inferloom_mesh.lateness import BOUNDS_MS, Lateness, LoopMonitor
from tests.logged import own_records
from tests.patience import PATIENCE_S
from tests.wire.gateway_mesh import GatewayMesh
from tests.wire.running_worker import running_worker


def test_delays_are_counted_in_buckets() -> None:
    """Each in the first whose bound it keeps; a quantile is a bound that so many keep."""
    lateness = Lateness()
    for delay_ms in (0.1, 0.9, 1.5, 30, 5000):
        lateness.add(delay_ms / 1e3)

    none: dict[float | None, int] = dict.fromkeys(BOUNDS_MS, 0)
    assert dict(lateness.buckets()) == {**none, 1: 2, 2: 1, 50: 1, None: 1}
    assert (lateness.ticks, lateness.worst_s) == (5, 5)
    assert [lateness.quantile_ms(share) for share in (0.4, 0.6, 0.8, 1.0)] == [1, 2, 50, 5000]


def test_nothing_measured_is_not_late() -> None:
    """Before the first tick every figure is zero."""
    assert (Lateness().ticks, Lateness().quantile_ms(0.99)) == (0, 0)


def test_a_delay_is_recent_for_some_minutes() -> None:
    """The worst of all stays; of the last minutes it is that of the last minutes."""
    lateness = Lateness()
    for now, delay_s, recent_s in (
        (0, 3.0, 3.0),
        (299, 0.1, 3.0),
        (301, 0.2, 3.0),
        (650, 0.1, 0.2),
        (9999, 0, 0),
    ):
        lateness.add(delay_s, now)
        assert (lateness.recent_s, lateness.worst_s) == (recent_s, 3.0)


async def test_a_loop_that_stands_still_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and a stop is logged, not more often than once a minute and then with their number; one
    that keeps everybody waiting for a second is a warning. The end says what was measured."""
    times = [100.0, *(t for at in (100.35, 100.7, 130, 131.6, 161, 162, 190) for t in (at, at))]
    over = asyncio.Event()

    def clock() -> float:
        if len(times) == 1:
            over.set()
            return times[0]
        return times.pop(0)

    monitor = LoopMonitor(clock)
    with caplog.at_level(logging.INFO, logger="inferloom_mesh.lateness"):
        monitor.start()
        await asyncio.wait_for(over.wait(), PATIENCE_S)
        monitor.stop()
        monitor.stop()

    told = own_records(caplog)
    assert [record.levelname for record in told] == ["INFO", "WARNING", "INFO"]
    assert "stood still once, for up to 300 ms" in told[0].getMessage()
    assert "stood still 4 times, for up to" in told[1].getMessage()
    assert "7 ticks" in told[2].getMessage()


async def test_the_gateway_and_the_worker_say_how_late_they_are(mesh: GatewayMesh) -> None:
    """In the liveness answer and in GetStatus, with the same buckets."""
    live = (await mesh.http.get("/health/live")).json()["event_loop"]
    async with running_worker("echo=echo") as worker:
        loop = (await worker.status()).event_loop

    assert 0 <= live["recent_ms"] <= live["worst_ms"]
    assert loop.HasField("recent")
    assert [bucket["upper_ms"] for bucket in live["buckets"]] == [*BOUNDS_MS, None]
    assert [bucket.upper.ToMilliseconds() for bucket in loop.buckets[:-1]] == list(BOUNDS_MS)
    assert not loop.buckets[-1].HasField("upper")
    assert loop.ticks == sum(bucket.count for bucket in loop.buckets)
