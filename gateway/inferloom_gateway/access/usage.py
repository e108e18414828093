"""What keys use, by day: gathered here, and written to the store now and then."""

import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count, islice

from inferloom_gateway.access.stores.protocol import Flush, KeyStore, StoreError, Usage

MOST_HELD = 50_000
"""Rows that are held for a store that cannot be written; past it, new keys and days are not counted."""

MOST_FLUSHED = 2000
"""Rows that are written at once."""

log = logging.getLogger(__name__)


class UsageMeter:
    """Adds up what is used until it is written. A gateway that is killed takes what it has not written along.

    What is taken to be written is taken again, as it was, until it has been: a store that did not say so may
    have counted it.
    """

    def __init__(self, store: KeyStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._held: dict[tuple[str, str], Usage] = {}
        self._me = secrets.token_hex(8)
        self._numbers = count(1)
        self._taken: Flush | None = None

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

    def take(self) -> Flush | None:
        """What is to be written next; None: nothing. On the event loop."""
        if self._taken is None and self._held:
            rows = [self._held.pop(each) for each in list(islice(self._held, MOST_FLUSHED))]
            self._taken = Flush(self._me, next(self._numbers), rows)
        return self._taken

    def write(self, flush: Flush) -> bool:
        """Write what was taken, whether that could be done. Blocks; on one thread for all."""
        if flush is not self._taken:  # it was written for somebody who did not wait for it
            return True
        try:
            self._store.add_usage(flush)
        except StoreError as failure:
            log.warning("usage is written later: %s", failure)
            return False
        self._taken = None
        return True
