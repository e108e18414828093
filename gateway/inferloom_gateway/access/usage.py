"""What keys use, by day: gathered here, and written to the store now and then."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from inferloom_gateway.access.stores.protocol import KeyStore, StoreError, Usage

MOST_HELD = 50_000
"""Rows that are held for a store that cannot be written; past it, new keys and days are not counted."""

log = logging.getLogger(__name__)


class UsageMeter:
    """Adds up until :meth:`flush`. A gateway that is killed takes what it has not written along."""

    def __init__(self, store: KeyStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._held: dict[tuple[str, str], Usage] = {}

    def add(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Count a request of ``key``."""
        day = datetime.fromtimestamp(self._now(), UTC).date().isoformat()
        row = self._held.get((day, key))
        if row is None:
            if len(self._held) >= MOST_HELD:
                return
            row = self._held[day, key] = Usage(day, key)
        row.requests += 1
        row.prompt_tokens += prompt_tokens
        row.completion_tokens += completion_tokens

    def take(self) -> list[Usage]:
        """What is to be written; it is held no more. On the event loop."""
        rows, self._held = list(self._held.values()), {}
        return rows

    def give_back(self, rows: list[Usage]) -> None:
        """Hold again what could not be written."""
        for row in rows:
            held = self._held.setdefault((row.day, row.key), Usage(row.day, row.key))
            held.requests += row.requests
            held.prompt_tokens += row.prompt_tokens
            held.completion_tokens += row.completion_tokens

    def write(self, rows: list[Usage]) -> bool:
        """Write rows, whether that could be done. Blocks."""
        try:
            self._store.add_usage(rows)
        except StoreError as failure:
            log.warning("usage is written later: %s", failure)
            return False
        return True
