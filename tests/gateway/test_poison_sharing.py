"""What is shared between gateways is told when it can be, and no request waits for it."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from inferloom_gateway.calls.poison import LedgerAwayError, Loss, Poison
from inferloom_gateway.storage import poison_sharing
from inferloom_gateway.storage.poison_sharing import share
from tests.patience import PATIENCE_S


class Shared:
    """A ledger in memory, which can be away."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.away = False
        self.asked = asyncio.Event()

    async def write(self, losses: Sequence[Loss]) -> None:
        self._ask()
        self.losses += losses

    async def read(self) -> Sequence[Loss]:
        self._ask()
        return list(self.losses)

    def _ask(self) -> None:
        self.asked.set()
        if self.away:
            raise LedgerAwayError("it is away")


async def looked(ledger: Shared) -> None:
    """Wait until everybody has looked again."""
    for _ in range(10):
        ledger.asked.clear()
        await asyncio.wait_for(ledger.asked.wait(), PATIENCE_S)


async def test_it_is_told_once_it_can_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Meanwhile each process goes by its own knowledge; the log says it once."""
    monkeypatch.setattr(poison_sharing, "LOOK_S", 0)
    monkeypatch.setattr(poison_sharing, "AWAY_S", 0)
    caplog.set_level(logging.WARNING)
    one, two, ledger = Poison(), Poison(), Shared()
    tasks = [asyncio.create_task(share(each, ledger)) for each in (one, two)]
    one.lost("t", b"r", ["a:1"])
    await looked(ledger)
    assert two.standing("t", b"r")[0] == 1
    ledger.away = True
    two.lost("t", b"r", ["b:1"])
    await looked(ledger)
    one.lost("t", b"s", ["c:1"])
    assert (one.standing("t", b"r")[0], two.standing("t", b"r")[0]) == (1, 2)
    assert one.standing("t", b"s")[0] == 1
    ledger.away = False
    await looked(ledger)
    assert (one.standing("t", b"r")[0], two.standing("t", b"s")[0]) == (2, 1)
    assert caplog.text.count("it is away") == 2  # of each process
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_it_ends_when_it_is_told_to_whatever_the_ledger_makes_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client library may take the cancellation for a lost connection."""
    monkeypatch.setattr(poison_sharing, "AWAY_S", 0)
    begun = asyncio.Event()

    class Taking(Shared):
        async def read(self) -> Sequence[Loss]:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise LedgerAwayError("a lost connection") from None
            return ()

    task = asyncio.create_task(share(Poison(), Taking()))
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait([task])
