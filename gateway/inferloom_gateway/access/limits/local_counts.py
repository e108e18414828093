"""Counts in memory: of one process, or shared by the processes of one gateway."""

import asyncio
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Self

from inferloom_gateway.access.limits.counts import Ask, CountsAwayError, Refused, Taken, corrections
from inferloom_gateway.access.limits.window import NAME_BYTES, ROW, SLOT_S, Window

ROWS = 4096
"""Keys, tenants and models with limits that can have been active within one minute."""

_PROBES = 64
"""Rows that one bucket may be in."""

_BYTES = ROWS * ROW * 8
"""All rows. Only what is touched takes memory."""

_LOCK_LIMIT_S = 1.0
"""How long another process may hold the lock. It needs some ten microseconds, but may be stopped amid, or
wait for a processor."""

_NAP_S = 20e-6
_LATER_S = 0.01
_HELD = "another process of the gateway holds the counts"


class LocalCounts:
    """:class:`~inferloom_gateway.access.limits.counts.Counts` over rows in memory.

    Args:
        memory: ``ROWS * ROW`` integers of 64 bits.
        seat: Which of the processes that share them this is.
        lock: The descriptor of a file whose lock orders those processes; None: there is only this one.
        clock: Monotonic seconds, the same for all of them.
    """

    def __init__(
        self,
        memory: mmap.mmap,
        seat: int = 0,
        lock: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._words = memoryview(memory).cast("q")
        self._seat = seat
        self._lock = lock
        self._clock = clock
        self._known: dict[str, tuple[Window, tuple[int, int]]] = {}
        self._owed: list[tuple[Sequence[Ask], Sequence[Taken], int]] = []
        """What could not be settled because the lock was not to be had."""
        if lock is None:
            return  # nobody was here before
        self._lock_at_start()
        try:
            for row in range(ROWS):
                # Not by the mapping: a look at a page of it would take memory for the page.
                if any(os.pread(lock, NAME_BYTES, row * ROW * 8)):
                    Window(self._words, row * ROW).repair(seat)
        finally:
            self._unlock()

    @classmethod
    def private(cls, clock: Callable[[], float] = time.monotonic) -> Self:
        """Counts of this process alone."""
        return cls(mmap.mmap(-1, _BYTES), clock=clock)

    @classmethod
    def shared(cls, path: Path, seat: int) -> Self:
        """Counts that the processes of a machine have together, in a file that :func:`make_shared` made."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return cls(mmap.mmap(descriptor, _BYTES), seat, descriptor)

    async def take(self, asks: Sequence[Ask], tokens: int, *, enters: bool) -> Taken | Refused:
        """See the protocol. It does not wait but for the lock."""
        if not self._locks():
            await self._lock_soon()
        try:
            self._pay()
            return self._take(asks, tokens, enters=enters)
        finally:
            self._unlock()

    def _take(self, asks: Sequence[Ask], tokens: int, *, enters: bool) -> Taken | Refused:
        slot = int(self._clock() / SLOT_S)
        windows = [self._window(ask.bucket, slot) for ask in asks]
        for ask, window in zip(asks, windows, strict=True):
            refusal = window.refuses(ask.limits, tokens, enters=enters)
            if refusal is not None:
                kind, used, wait_s = refusal
                return Refused(ask, kind, used, wait_s, [each.level() for each in windows])
        for window in windows:
            slot = window.take(tokens, self._seat, enters=enters)
        return Taken(slot, tokens, [window.level() for window in windows])

    def settle(self, asks: Sequence[Ask], taken: Sequence[Taken], used: int) -> None:
        """See the protocol. Where the lock is not to be had, that is done soon after."""
        self._owed.append((asks, taken, used))
        self._settle_owed()

    def _settle_owed(self) -> None:
        if not self._owed:
            return
        if not self._locks():
            asyncio.get_running_loop().call_later(_LATER_S, self._settle_owed)
            return
        try:
            self._pay()
        finally:
            self._unlock()

    def _pay(self) -> None:
        """Settle what could not be settled before; under the lock."""
        slot = int(self._clock() / SLOT_S)
        while self._owed:
            with suppress(CountsAwayError):  # its row went to others, and what it had there with it
                self._settle(*self._owed.pop(), slot)

    def _settle(self, asks: Sequence[Ask], taken: Sequence[Taken], used: int, slot: int) -> None:
        changes = list(corrections(taken, used))
        for ask in asks:
            window = self._window(ask.bucket, slot)
            window.leave(self._seat)
            for at, tokens in changes:
                window.correct(at, tokens)

    def _window(self, bucket: str, slot: int) -> Window:
        """The bucket's row in ``slot``, a free or idle one if it has none. It is not idle after this, so that
        no other bucket of the same request gets it too.

        Raises:
            CountsAwayError: All rows that it could have are in use.
        """
        found = self._known.get(bucket)
        if found is not None and found[0].belongs(found[1]):
            found[0].advance(slot)
            return found[0]
        name = struct.unpack("<qq", blake2b(bucket.encode(), digest_size=16).digest())
        free = None
        for probe in range(_PROBES):
            window = Window(self._words, (name[0] + probe) % ROWS * ROW)
            if window.name == name:
                break
            if free is None and (not any(window.name) or window.idle(slot)):
                free = window
        else:
            if free is None:
                raise CountsAwayError("as many keys, tenants and models are active as can be counted")
            free.claim(name)
            window = free
        window.advance(slot)
        if len(self._known) >= 2 * ROWS:
            self._known.clear()
        self._known[bucket] = window, name
        return window

    def _locks(self) -> bool:
        """Take the lock if nobody has it; the system lets it go if its holder is killed."""
        if self._lock is None:
            return True
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    async def _lock_soon(self) -> None:
        """Wait for the other processes, while this one goes on with all else.

        Raises:
            CountsAwayError: One of them was stopped while it had the lock.
        """
        deadline = time.monotonic() + _LOCK_LIMIT_S
        while time.monotonic() < deadline:
            await asyncio.sleep(_NAP_S)
            if self._locks():
                return
        raise CountsAwayError(_HELD)

    def _lock_at_start(self) -> None:
        deadline = time.monotonic() + _LOCK_LIMIT_S
        while not self._locks():
            if time.monotonic() > deadline:
                raise CountsAwayError(_HELD)
            time.sleep(_NAP_S)  # a process that starts serves nobody yet


def make_shared(path: Path) -> None:
    """Make the file for :meth:`LocalCounts.shared`, which only this user may open."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, _BYTES)
    finally:
        os.close(descriptor)
