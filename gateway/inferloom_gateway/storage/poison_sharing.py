"""Lets the processes of all gateways know which requests have ended workers."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import islice

from inferloom_gateway.access.stores.protocol import is_redis
from inferloom_gateway.access.stores.redis_ledger import RedisLedger
from inferloom_gateway.calls.poison import Ledger, LedgerAwayError, Loss, Poison
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.poison_ledger import StoreLedger
from inferloom_gateway.storage.storage import Storage

LOOK_S = 0.25
"""How often what others know is looked at: well below the second after which a client asks again."""

AWAY_S = 2.0
"""How often that is tried where it cannot be reached."""

_AT_ONCE = 256

log = logging.getLogger(__name__)


def ledger_of(settings: GatewaySettings, storage: Storage) -> Ledger | None:
    """Where a gateway shares losses: in Redis where its keys are there, else in its store. None: nowhere."""
    if settings.keys is not None and is_redis(settings.keys):
        return RedisLedger(settings.keys)
    return StoreLedger(storage) if storage.on else None


async def share(poison: Poison, ledger: Ledger | None) -> None:
    """Tell others what is new, and hear what they know, until cancelled. No request waits for it: where the
    ledger is away, each process goes by its own knowledge."""
    away = False
    before: Sequence[Loss] = ()
    task = asyncio.current_task()
    assert task is not None
    try:
        while not task.cancelling():  # Redis' client may take a cancellation for a lost connection
            try:
                if ledger is not None:
                    before = await _look(poison, ledger, before)
                away = False
            except LedgerAwayError as failure:
                if not away:
                    log.warning("which requests have ended workers is not shared: %s", failure)
                away = True
            poison.expire()
            await asyncio.sleep(AWAY_S if away else LOOK_S)
    finally:
        if isinstance(ledger, RedisLedger):
            await asyncio.shield(ledger.close())


async def _look(poison: Poison, ledger: Ledger, before: Sequence[Loss]) -> Sequence[Loss]:
    told = [*islice(poison.unshared, _AT_ONCE)]
    if told:
        await ledger.write(told)
        for each in told:
            if poison.unshared and poison.unshared[0] is each:  # newer ones may have driven it out
                poison.unshared.popleft()
    found = await ledger.read()
    if told or found != before:
        poison.hear(found)
    return found
