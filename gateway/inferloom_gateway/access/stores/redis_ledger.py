"""Workers that were lost with requests, as gateways share them in Redis."""

import json
import time
from collections.abc import Sequence
from typing import Any

from inferloom_gateway.access.stores.redis import NAMESPACE, PATIENCE_S
from inferloom_gateway.calls.poison import KEPT_S, MOST, LedgerAwayError, Loss
from inferloom_gateway.calls.suspect_claims import CLAIM_S, Claim

LOSSES = f"{NAMESPACE}losses"
SUSPECTS = f"{NAMESPACE}suspects:"
"""How a worker's sorted set of claims begins, of process and suspect, by when they were made."""

_ENTER = """
for _, each in ipairs(redis.call('zrangebyscore', KEYS[1], ARGV[3], '+inf')) do
    if string.sub(each, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
end
redis.call('zadd', KEYS[1], ARGV[4], ARGV[1] .. ':' .. ARGV[2])
redis.call('expire', KEYS[1], ARGV[5])
return 1
"""


class RedisLedger:
    """A :class:`~inferloom_gateway.calls.poison.Ledger` in a sorted set: losses, by when they were; and
    :class:`~inferloom_gateway.calls.suspect_claims.Claims` in one for each worker.

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

    async def enter(self, claim: Claim, fresh_s: float) -> bool:
        """See the protocol."""
        now = time.time()
        given = claim.process, claim.suspect, now - fresh_s, now, int(CLAIM_S)
        try:
            return bool(await self._redis.eval(_ENTER, 1, SUSPECTS + claim.worker, *given))
        except self._errors as failure:
            raise LedgerAwayError(str(failure)) from failure

    async def leave(self, claim: Claim) -> None:
        """See the protocol."""
        try:
            await self._redis.zrem(SUSPECTS + claim.worker, f"{claim.process}:{claim.suspect}")
        except self._errors as failure:
            raise LedgerAwayError(str(failure)) from failure

    async def others(self, worker: str, process: str) -> bool:
        """See the protocol."""
        try:
            found = await self._redis.zrangebyscore(SUSPECTS + worker, time.time() - CLAIM_S, "+inf")
        except self._errors as failure:
            raise LedgerAwayError(str(failure)) from failure
        return any(each.partition(":")[0] != process for each in found)

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
