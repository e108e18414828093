"""Gives back what a runner has claimed and does not do."""

import asyncio
import logging

from inferloom_gateway.storage.database import Work
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)

AGAIN_S = 5.0
"""How long what could not be done is left alone, and how often a store that does not take it is tried."""


async def give_back(store: Store, work: Work[None], after_s: float) -> None:
    """Give a claim back after so many seconds, however long the store takes: nobody else would."""
    await asyncio.sleep(after_s)
    while True:
        try:
            await store.database.write(work)
        except InferloomError as failure:
            log.warning("a claim of a batch waits to be given back: %s", failure.message)
            await asyncio.sleep(AGAIN_S)
        else:
            return
