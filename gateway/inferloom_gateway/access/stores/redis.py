"""A store in Redis, for gateways of several machines."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from inferloom_gateway.access.api_key import ApiKey, Policy, key_from, policy_from, to_plain
from inferloom_gateway.access.keyring import Keyring
from inferloom_gateway.access.stores.protocol import (
    MOST_KEYS,
    MOST_POLICIES,
    USAGE_DAYS,
    Flush,
    Kind,
    StoreError,
    StoreFullError,
    Usage,
    shown_place,
)

T = TypeVar("T")

NAMESPACE = "inferloom:"
"""How every key in Redis begins."""

PATIENCE_S = 2.0
"""How long Redis may take to connect or to answer."""

_KEYS, _REVISION = f"{NAMESPACE}keys", f"{NAMESPACE}revision"
_POLICIES = f"{NAMESPACE}policies"
_COUNTED = ("requests", "prompt_tokens", "completion_tokens")

_ADD_USAGE = f"""
local number = tonumber(ARGV[1])
if number <= tonumber(redis.call('GET', KEYS[1]) or 0) then return end
redis.call('SET', KEYS[1], number, 'EX', 86400)
for i = 2, #ARGV, 3 do
  redis.call('HINCRBY', KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])
end
for i = 2, #KEYS do redis.call('EXPIRE', KEYS[i], {USAGE_DAYS * 86_400}) end
"""
"""Counts a flush, once however often it is asked to. Keys: the number of the last that its writer had
counted, then the usage of each day. Arguments: the number of this one; then for each count the day's key, by
its place from 1, the field and what is added."""


class RedisStore:
    """A :class:`~inferloom_gateway.access.stores.protocol.KeyStore` in a Redis of version 5 or newer.

    A hash holds the keys, one the policies, and one for each day the usage. Redis must keep what it is told
    (``appendonly yes``): what it loses is revoked no more.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as the client library takes it.

    Raises:
        StoreError: The library is not installed, or the URL is wrong.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ModuleNotFoundError as missing:
            raise StoreError("keys in Redis need its client: pip install 'inferloom[redis]'") from missing
        self._where = shown_place(url)
        self._errors = (redis.RedisError, OSError, ValueError)
        try:
            self._redis: Any = redis.Redis.from_url(
                url, decode_responses=True, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
            )
        except self._errors as failure:
            raise StoreError(f"{self._where} is no place of a Redis: {failure}") from failure

    def revision(self) -> str:
        """See the protocol."""
        return self._try(lambda: str(self._redis.get(_REVISION) or 0))

    def read(self) -> tuple[str, Keyring]:
        """See the protocol."""

        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=True) as asked:
                return list(asked.get(_REVISION).hvals(_KEYS).hgetall(_POLICIES).execute())

        def made() -> tuple[str, Keyring]:
            number, bodies, policies = ask()
            found: dict[str, dict[str, Policy]] = {"tenant": {}, "model": {}}
            for scope, body in policies.items():
                kind, _, name = scope.partition(":")
                found[kind][name] = policy_from(json.loads(body))
            keys = [key_from(json.loads(body)) for body in bodies]
            return str(number or 0), Keyring({key.id: key for key in keys}, found["tenant"], found["model"])

        return self._try(made)

    def put_key(self, key: ApiKey) -> None:
        """See the protocol."""

        def put() -> None:
            if self._redis.hlen(_KEYS) >= MOST_KEYS and not self._redis.hexists(_KEYS, key.id):
                raise StoreFullError(f"The store has {MOST_KEYS} keys and takes no more.")
            with self._redis.pipeline(transaction=True) as change:
                change.hset(_KEYS, key.id, json.dumps(to_plain(key))).incr(_REVISION).execute()

        self._try(put)

    def change_key(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """See the protocol. Whoever was faster has it tried again."""

        def alter(pipe: Any) -> ApiKey | None:
            body = pipe.hget(_KEYS, key_id)
            pipe.multi()
            if body is None:
                return None
            before = key_from(json.loads(body))
            if (after := change(before)) != before:
                pipe.hset(_KEYS, key_id, json.dumps(to_plain(after))).incr(_REVISION)
            return after

        def altered() -> ApiKey | None:
            after: ApiKey | None = self._redis.transaction(alter, _KEYS, value_from_callable=True)
            return after

        return self._try(altered)

    def put_policy(self, kind: Kind, name: str, policy: Policy | None) -> None:
        """See the protocol."""

        field = f"{kind}:{name}"

        def put() -> None:
            full = policy is not None and self._redis.hlen(_POLICIES) >= MOST_POLICIES
            if full and not self._redis.hexists(_POLICIES, field):
                raise StoreFullError(f"The store has {MOST_POLICIES} limits and takes no more.")
            with self._redis.pipeline(transaction=True) as change:
                if policy is None:
                    change.hdel(_POLICIES, field)
                else:
                    change.hset(_POLICIES, field, json.dumps(to_plain(policy)))
                change.incr(_REVISION).execute()

        self._try(put)

    def add_usage(self, flush: Flush) -> None:
        """See the protocol. A day's hash goes by itself. Redis may have counted it and answered too late, so
        it is told the flush's number."""
        days = sorted({row.day for row in flush.rows})
        keys = [f"{NAMESPACE}flushed:{flush.writer}", *map(_day, days)]
        values: list[str | int] = [flush.number]
        for row in flush.rows:
            for name in _COUNTED:
                values += (days.index(row.day) + 2, f"{row.key}:{name}", getattr(row, name))
        self._try(lambda: self._redis.eval(_ADD_USAGE, len(keys), *keys, *values))

    def usage(self, since: str) -> list[Usage]:
        """See the protocol."""
        today = datetime.now(UTC).date()
        days = [(today - timedelta(days=n)).isoformat() for n in range(USAGE_DAYS, -2, -1)]
        days = [day for day in days if day >= since]

        def ask() -> list[dict[str, str]]:
            with self._redis.pipeline(transaction=False) as asked:
                for day in days:
                    asked.hgetall(_day(day))
                return list(asked.execute())

        found: dict[tuple[str, str], Usage] = {}
        for day, fields in zip(days, self._try(ask), strict=True):
            for field, count in sorted(fields.items()):
                key, _, name = field.partition(":")
                setattr(found.setdefault((day, key), Usage(day, key)), name, int(count))
        return list(found.values())

    def close(self) -> None:
        """See the protocol."""
        self._redis.close()

    def _try(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except StoreError:
            raise
        except self._errors as failure:
            raise StoreError(f"the key store {self._where} cannot be used: {failure}") from failure


def _day(day: str) -> str:
    return f"{NAMESPACE}usage:{day}"
