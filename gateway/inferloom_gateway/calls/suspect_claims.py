"""Lets suspects of all gateway processes go to workers one at a time, as if one process had them."""

import asyncio
import secrets
from contextlib import suppress
from typing import NamedTuple, Protocol

from inferloom_gateway.calls.poison import LedgerAwayError
from inferloom_gateway.calls.suspects import FRESH_S

PATIENCE_S = 0.25
"""How long a suspect waits for what is shared, before its process goes by its own knowledge."""

CLAIM_S = 60.0
"""How long a claim counts that nobody takes back: its process may have died."""


class Claim(NamedTuple):
    """A suspect that is on a worker, or about to go there."""

    worker: str
    """Its name and epoch."""
    process: str
    suspect: str
    """One of the process's own."""


class Claims(Protocol):
    """Where gateways share claims. Its methods raise
    :class:`~inferloom_gateway.calls.poison.LedgerAwayError`."""

    async def enter(self, claim: Claim, fresh_s: float) -> bool:
        """Keep a claim, unless another process made one on the worker less than ``fresh_s`` seconds ago."""

    async def leave(self, claim: Claim) -> None:
        """Take a claim back."""

    async def others(self, worker: str, process: str) -> bool:
        """Whether other processes have suspects on a worker, or had when it was lost."""


class SharedSuspects:
    """One process's view of the suspects of all. Without a place to share them, or where it is away, each
    process goes by its own knowledge."""

    def __init__(self) -> None:
        self.claims: Claims | None = None
        """Where they are shared, once that is known."""
        self._process = secrets.token_hex(8)
        self._leaving: set[asyncio.Task[None]] = set()

    async def enter(self, worker: str) -> tuple[bool, Claim | None]:
        """Whether a suspect may go to a worker, and what it then has to take back."""
        if self.claims is None:
            return True, None
        claim = Claim(worker, self._process, secrets.token_hex(8))
        try:
            async with asyncio.timeout(PATIENCE_S):
                entered = await self.claims.enter(claim, FRESH_S)
        except (LedgerAwayError, TimeoutError):
            return True, claim  # it may have been kept
        return entered, claim if entered else None

    def leave(self, claim: Claim) -> None:
        """Take a claim back; nobody waits for that."""
        task = asyncio.get_running_loop().create_task(self._leave(claim))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def others(self, worker: str) -> bool:
        """Whether other processes have suspects on a worker, or had when it was lost."""
        if self.claims is None:
            return False
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.claims.others(worker, self._process)
        except (LedgerAwayError, TimeoutError):
            return False

    async def _leave(self, claim: Claim) -> None:
        assert self.claims is not None
        with suppress(LedgerAwayError):  # it ends by itself
            await self.claims.leave(claim)
