"""Workers that were lost with requests, as gateways share them in Redis."""

import json
import time
from collections.abc import Sequence
from typing import Any

from inferloom_gateway.access.stores.redis import NAMESPACE, PATIENCE_S
from inferloom_gateway.calls.poison import KEPT_S, MOST, LedgerAwayError, Loss

LOSSES = f"{NAMESPACE}losses"


class RedisLedger:
    """A :class:`~inferloom_gateway.calls.poison.Ledger` in a sorted set: losses, by when they were.

    Made on the event loop that uses it; the client library must be there.
    """

    def __init__(self, url: str) -> None:
        from redis import RedisError
        from redis.asyncio import Redis

        self._errors = (RedisError, OSError, ValueError)
        self._redis: Any = Redis.from_url(
            url, decode_responses=True, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
        )

    async def write(self, losses: Sequence[Loss]) -> None:
        """See the protocol."""
        acquitted = {loss[:2] for loss in losses if not loss.worker}
        try:
            known = await self.read() if acquitted else ()
            async with self._redis.pipeline(transaction=True) as asked:
                gone = [_member(each) for each in (*known, *losses) if each[:2] in acquitted]
                if gone:
                    asked.zrem(LOSSES, *gone)
                held = _held(losses)
                if held:
                    asked.zadd(LOSSES, {_member(loss): loss.at for loss in held})
                asked.zremrangebyscore(LOSSES, "-inf", time.time() - KEPT_S)
                asked.zremrangebyrank(LOSSES, 0, -MOST - 1)
                asked.expire(LOSSES, int(KEPT_S) + 1)
                await asked.execute()
        except self._errors as failure:
            raise LedgerAwayError(str(failure)) from failure

    async def read(self) -> Sequence[Loss]:
        """See the protocol."""
        try:
            found = await self._redis.zrangebyscore(
                LOSSES, time.time() - KEPT_S, "+inf", start=0, num=MOST, withscores=True
            )
            return [_loss(member, at) for member, at in found]
        except self._errors as failure:
            raise LedgerAwayError(str(failure)) from failure

    async def close(self) -> None:
        """Leave Redis."""
        await self._redis.aclose()


def _held(losses: Sequence[Loss]) -> list[Loss]:
    """Those that no later acquittal takes back."""
    held: dict[Loss, None] = {}
    for loss in losses:
        if loss.worker:
            held[loss] = None
        else:
            held = {each: None for each in held if each[:2] != loss[:2]}
    return [*held]


def _member(loss: Loss) -> str:
    return json.dumps([loss.tenant, loss.digest.hex(), loss.worker])


def _loss(member: str, at: float) -> Loss:
    tenant, digest, worker = json.loads(member)
    return Loss(str(tenant), bytes.fromhex(digest), str(worker), float(at))
