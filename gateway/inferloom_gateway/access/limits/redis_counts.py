"""Counts in Redis, which all gateways have together."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from inferloom_gateway.access.limits.counts import (
    Ask,
    CountsAwayError,
    Kind,
    Level,
    Refused,
    Taken,
    corrections,
)
from inferloom_gateway.access.limits.redis_scripts import ALIVE_S, SETTLE, TAKE
from inferloom_gateway.access.stores.redis import NAMESPACE

PATIENCE_S = 2.0
"""How long Redis may take to answer a request that waits."""

MOST_OWED = 100_000
"""Requests that are settled later where Redis does not answer; the oldest beyond them stay as reserved."""

_RETRY_S = 0.5
_AT_ONCE = 200
_ALIVE = f"{NAMESPACE}gateways"

_Owed = tuple[list[str], list[str | int]]
"""Keys and arguments of the script that settles a request."""

log = logging.getLogger(__name__)


class RedisCounts:
    """:class:`~inferloom_gateway.access.limits.counts.Counts` by scripts in Redis.

    How many requests run is written as a whole number by each gateway, not added to: what is lost on the way
    is right again with the next request. Requests are settled in the background, some together. Made on the
    event loop that uses it; the client library must be there.
    """

    def __init__(self, url: str) -> None:
        from redis import RedisError
        from redis.asyncio import Redis

        self._errors = (RedisError, OSError, ValueError)
        self._redis: Any = Redis.from_url(
            url, decode_responses=True, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
        )
        self._me = secrets.token_hex(8)
        self._take = self._redis.register_script(TAKE)
        self._running: Counter[str] = Counter()
        self._owed: asyncio.Queue[_Owed] = asyncio.Queue(MOST_OWED)

    async def take(self, asks: Sequence[Ask], tokens: int, *, enters: bool) -> Taken | Refused:
        """See the protocol."""
        limited = [ask.bucket for ask in asks if ask.limits.concurrent is not None]
        if enters:
            self._running.update(limited)
        taken: Taken | Refused | None = None
        try:
            taken = await self._ask(asks, tokens, enters=enters)
        except self._errors as failure:
            log.warning("limits cannot be counted: Redis does not answer (%s)", failure)
            raise CountsAwayError("Redis does not answer") from failure
        finally:
            if enters and not isinstance(taken, Taken):
                self._leave(limited)
        return taken

    def settle(self, asks: Sequence[Ask], taken: Sequence[Taken], used: int) -> None:
        """See the protocol."""
        limited = [ask.bucket for ask in asks if ask.limits.concurrent is not None]
        self._leave(limited)
        changes = list(corrections(taken, used))
        if not changes and not limited:
            return
        values: list[str | int] = [self._me, len(changes), *(each for pair in changes for each in pair)]
        values += [self._running[ask.bucket] if ask.limits.concurrent is not None else -1 for ask in asks]
        if self._owed.full():
            self._owed.get_nowait()
        self._owed.put_nowait((_keys(asks), values))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Settle in the background until the block ends, and then what is left."""
        tasks = [asyncio.create_task(self._settle_all()), asyncio.create_task(self._stay_alive())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                while not self._owed.empty():
                    await self._settle_some([])
                await self._redis.zrem(_ALIVE, self._me)
            except self._errors:
                log.warning("Redis was not told of the last requests")
            await self._redis.aclose()

    async def _ask(self, asks: Sequence[Ask], tokens: int, *, enters: bool) -> Taken | Refused:
        values: list[str | int] = [self._me, int(enters), tokens]
        for ask in asks:
            limits = ask.limits
            bounds = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent)
            values += [*(-1 if most is None else most for most in bounds), self._running[ask.bucket]]
        answer: list[Any] = await self._take(keys=_keys(asks), args=values)
        levels = [
            Level(int(answer[at]), int(answer[at + 1]), max(0, int(answer[at + 2])) / 1000)
            for at in range(5, len(answer), 3)
        ]
        if int(answer[0]):
            return Taken(int(answer[1]), tokens, levels)
        kind: Kind = answer[2]
        wait_ms = int(answer[4])
        ask = asks[int(answer[1]) - 1]
        return Refused(ask, kind, int(answer[3]), None if wait_ms < 0 else wait_ms / 1000, levels)

    def _leave(self, buckets: Sequence[str]) -> None:
        self._running.subtract(buckets)
        for bucket in buckets:
            if self._running[bucket] <= 0:
                del self._running[bucket]

    async def _settle_all(self) -> None:
        while True:
            batch = [await self._owed.get()]
            try:
                await self._settle_some(batch)
            except self._errors as failure:
                log.warning("requests are settled later: Redis does not answer (%s)", failure)
                for each in batch:
                    if not self._owed.full():
                        self._owed.put_nowait(each)
                await asyncio.sleep(_RETRY_S)

    async def _settle_some(self, batch: list[_Owed]) -> None:
        """Settle ``batch``, and what else is owed, which joins it."""
        while len(batch) < _AT_ONCE and not self._owed.empty():
            batch.append(self._owed.get_nowait())
        async with self._redis.pipeline(transaction=False) as asked:
            for keys, values in batch:
                asked.eval(SETTLE, len(keys), *keys, *values)
            await asked.execute()

    async def _stay_alive(self) -> None:
        while True:
            try:
                now, _ = await self._redis.time()
                await self._redis.zadd(_ALIVE, {self._me: (now + ALIVE_S) * 1000})
                await self._redis.zremrangebyscore(_ALIVE, "-inf", (now - ALIVE_S) * 1000)
            except self._errors:
                log.debug("Redis does not answer")
            await asyncio.sleep(ALIVE_S / 4)


def _keys(asks: Sequence[Ask]) -> list[str]:
    """What the scripts touch. One Redis holds all of it; a cluster would not."""
    return [
        _ALIVE,
        *(f"{NAMESPACE}{kind}:{ask.bucket}" for ask in asks for kind in ("window", "running")),
    ]
