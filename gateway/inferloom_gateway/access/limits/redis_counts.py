"""Counts in Redis, which all gateways have together."""

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
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
from inferloom_gateway.access.limits.redis_scripts import ALIVE_S, SETTLE, TAKE, TELL
from inferloom_gateway.access.stores.redis import NAMESPACE

PATIENCE_S = 2.0
"""How long Redis may take to answer a request that waits."""

MOST_OWED = 100_000
"""Requests that are settled later where Redis does not answer; the oldest beyond them stay as reserved."""

_RETRY_S = 0.5
_AT_ONCE = 200
_ALIVE = f"{NAMESPACE}gateways"

_Owed = tuple[list[str], list[int]]
"""Keys and arguments of the script that settles a request."""

log = logging.getLogger(__name__)


class RedisCounts:
    """:class:`~inferloom_gateway.access.limits.counts.Counts` by scripts in Redis.

    How many requests run is written as a whole number by each gateway, not added to: what is lost on the way
    is right again with the next request. It is written anew after each request that has ended, was refused,
    or of which it is not known whether Redis has counted it. Requests are settled in the background, some
    together. Made on the event loop that uses it; the client library must be there.
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
        self._told = count(1)
        self._settled = count(1)
        self._owed: deque[_Owed] = deque(maxlen=MOST_OWED)
        self._stale: set[str] = set()
        """Buckets of which Redis may have another number than what runs."""
        self._due = asyncio.Event()
        self._closing = False

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
        if changes := list(corrections(taken, used)):
            keys = [f"{NAMESPACE}settled:{self._me}", *(_key("window", ask.bucket) for ask in asks)]
            self._owed.append((keys, [next(self._settled), *(each for pair in changes for each in pair)]))
            self._due.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Settle in the background until the block ends, and then what is left."""
        tasks = [asyncio.create_task(self._settle_all()), asyncio.create_task(self._stay_alive())]
        try:
            yield
        finally:
            self._closing = True  # the client library may take a cancellation for a lost connection
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                while self._owed or self._stale:
                    await self._settle_some()
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
        values.append(next(self._told))
        keys = [_ALIVE, *(_key(kind, ask.bucket) for ask in asks for kind in ("window", "running"))]
        answer: list[Any] = await self._take(keys=keys, args=values)
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
        if buckets:
            self._stale.update(buckets)
            self._due.set()

    async def _settle_all(self) -> None:
        while not self._closing:
            await self._due.wait()
            self._due.clear()
            try:
                while (self._owed or self._stale) and not self._closing:
                    await self._settle_some()
            except self._errors as failure:
                log.warning("requests are settled later: Redis does not answer (%s)", failure)
                self._due.set()
                await asyncio.sleep(_RETRY_S)

    async def _settle_some(self) -> None:
        """Settle what is owed, the oldest first, and tell what runs. What fails stays owed."""
        settled = list(islice(self._owed, _AT_ONCE))
        told = list(islice(self._stale, _AT_ONCE))
        self._stale.difference_update(told)
        try:
            async with self._redis.pipeline(transaction=False) as asked:
                for keys, values in settled:
                    asked.eval(SETTLE, len(keys), *keys, *values)
                if told:
                    keys, running = [_key("running", bucket) for bucket in told], map(self._runs, told)
                    asked.eval(TELL, len(keys), *keys, self._me, next(self._told), *running)
                await asked.execute()
        except BaseException:
            self._stale.update(told)
            raise
        for each in settled:
            if self._owed and self._owed[0] is each:  # newer ones may have driven it out
                self._owed.popleft()

    def _runs(self, bucket: str) -> int:
        return self._running[bucket]

    async def _stay_alive(self) -> None:
        while not self._closing:
            try:
                now, _ = await self._redis.time()
                await self._redis.zadd(_ALIVE, {self._me: (now + ALIVE_S) * 1000})
                await self._redis.zremrangebyscore(_ALIVE, "-inf", (now - ALIVE_S) * 1000)
            except self._errors:
                log.debug("Redis does not answer")
            await asyncio.sleep(ALIVE_S / 4)


def _key(kind: str, bucket: str) -> str:
    """Where a bucket's window is, or what it runs. One Redis holds all of it; a cluster would not."""
    return f"{NAMESPACE}{kind}:{bucket}"
