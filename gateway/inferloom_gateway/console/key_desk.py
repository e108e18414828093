"""Keys and limits, for those who may manage them: what there is, what was used, new ones, and changes."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from inferloom_gateway.access.access import Access
from inferloom_gateway.access.api_key import (
    ANY,
    NO_LIMITS,
    ApiKey,
    Limits,
    Policy,
    UnfitError,
    check_tenant,
    to_plain,
)
from inferloom_gateway.access.endpoints import NAMED_ONLY, NAMES
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.access.key_text import digest_of, new_key
from inferloom_gateway.access.keyring import Keyring
from inferloom_gateway.access.stores.protocol import KeyStore, Kind, StoreError, StoreFullError, Usage
from inferloom_gateway.console.key_bodies import LaidDown, LimitedKind, NewKey
from inferloom_mesh.audit import Audit
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown

T = TypeVar("T")

MOST_SHOWN = 1000
"""Keys in one answer, the newest of them."""

USAGE_SHOWN_DAYS = 30


class KeyDesk:
    """Shows and changes the keys of one store.

    Raises:
        InferloomError: In all methods, where the store cannot be used.
    """

    def __init__(self, access: Access, audit: Audit | None) -> None:
        self._access = access
        self._audit = audit

    async def listed(self) -> dict[str, Any]:
        """Keys with what they used of late, and the limits of tenants and models; no key itself."""
        since = (datetime.now(UTC) - timedelta(days=USAGE_SHOWN_DAYS - 1)).date().isoformat()

        def read(store: KeyStore) -> tuple[Keyring, list[Usage]]:
            return store.read()[1], store.usage(since)

        ring, usage = await self._use(read)
        now, used = time.time(), _sums(usage)
        keys = sorted(ring.keys.values(), key=lambda key: -key.created)
        policies = [("tenant", name, each) for name, each in sorted(ring.tenants.items())]
        policies += [("model", name, each) for name, each in sorted(ring.models.items())]
        return {
            "keys": [{**_told(key, now), "used": used.get(key.id)} for key in keys[:MOST_SHOWN]],
            "count": len(keys),
            "policies": [{"kind": kind, "name": name, **to_plain(each)} for kind, name, each in policies],
            "days": USAGE_SHOWN_DAYS,
            "scopes": NAMES,
            "named_only": NAMED_ONLY,
        }

    async def create(self, wanted: NewKey, who: Identity) -> dict[str, Any]:
        """Make a key; the answer is the only place where all of it is told."""
        for scope in wanted.endpoints:
            if scope not in NAMES:
                message = f"There is no endpoint '{shown(scope)}'. There are {', '.join(NAMES)}."
                raise invalid("endpoints", message)
        now = time.time()
        key_id, text = new_key()
        try:
            key = ApiKey(
                id=key_id,
                digest=digest_of(text),
                tenant=check_tenant(wanted.tenant),
                name=wanted.name,
                created=now,
                expires=None if wanted.expires_in_s is None else now + wanted.expires_in_s,
                models=tuple(wanted.models) or (ANY,),
                endpoints=tuple(wanted.endpoints),
                limits=Limits(**wanted.limits.model_dump()),
            )
        except UnfitError as wrong:
            raise invalid("tenant", f"Invalid 'tenant': {wrong}.") from None
        await self._use(lambda store: store.put_key(key))
        self._note("key.create", who, key=key_id, tenant=key.tenant)
        return {"key": text, **_told(key, now)}

    async def revoke(self, key_id: str, who: Identity) -> dict[str, Any]:
        """Take a key back; one that was taken back before stays so."""
        now = time.time()

        def taken_back(key: ApiKey) -> ApiKey:
            return key if key.revoked is not None else replace(key, revoked=now)

        key = await self._change(key_id, taken_back)
        if key.revoked == now:
            self._note("key.revoke", who, key=key.id, tenant=key.tenant)
        return _told(key, now)

    async def lay_down(self, wanted: LaidDown, who: Identity) -> dict[str, Any]:
        """Put limits in the place of those that a key, a tenant or a model had; the answer is what holds."""
        if wanted.kind != "tenant" and wanted.share is not None:
            raise invalid("share", "Only tenants have shares.")
        if wanted.kind == "key":
            return await self._limit_key(wanted.name, wanted.limits, who)
        policy = Policy(wanted.limits, 1.0 if wanted.share is None else wanted.share)
        await self._put_policy(wanted.kind, wanted.name, policy)
        plain = to_plain(policy)
        self._note("limits.set", who, kind=wanted.kind, name=wanted.name, **plain)
        return {"kind": wanted.kind, "name": wanted.name, **plain}

    async def lift(self, kind: LimitedKind, name: str, who: Identity) -> dict[str, Any]:
        """Take limits away: nothing holds any more for the key, or by this name of tenants or models."""
        if kind == "key":
            return await self._limit_key(name, NO_LIMITS, who)
        await self._put_policy(kind, name, None)
        self._note("limits.remove", who, kind=kind, name=name)
        return {"kind": kind, "name": name, "limits": None}

    async def _limit_key(self, key_id: str, limits: Limits, who: Identity) -> dict[str, Any]:
        def limited(key: ApiKey) -> ApiKey:
            return key if key.revoked is not None else replace(key, limits=limits)

        key = await self._change(key_id, limited)
        if key.revoked is not None:
            raise invalid("name", f"The key {key.id} is revoked: it opens nothing, whatever its limits.")
        self._note("limits.set", who, kind="key", name=key.id, limits=asdict(limits))
        return _told(key, time.time())

    async def _put_policy(self, kind: Kind, name: str, policy: Policy | None) -> None:
        await self._use(lambda store: store.put_policy(kind, name, policy))

    async def _change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        key = await self._use(lambda store: store.change_key(key_id, change))
        if key is None:
            raise InferloomError(Reason.NOT_FOUND, f"There is no key '{shown(key_id)}'.", param="name")
        return key

    async def _use(self, work: Callable[[KeyStore], T]) -> T:
        try:
            return await self._access.use_store(work)
        except UnfitError as wrong:
            raise InferloomError(Reason.INVALID_ARGUMENT, f"{wrong}.") from None
        except StoreFullError as full:
            raise InferloomError(Reason.INVALID_ARGUMENT, f"{full}") from None
        except StoreError as failure:
            message = "The store of the API keys cannot be used now."
            raise InferloomError(Reason.SERVER_OVERLOADED, message, retry_after=1.0) from failure

    def _note(self, event: str, who: Identity, **about: object) -> None:
        if self._audit is not None:
            self._audit.done(event, f"key:{who.key_id}" if who.key is not None else who.key_id, **about)


def _told(key: ApiKey, now: float) -> dict[str, Any]:
    plain = to_plain(key)
    del plain["digest"]
    return {**plain, "state": key.state(now)}


def _sums(usage: list[Usage]) -> dict[str, dict[str, Any]]:
    sums: dict[str, Usage] = {}
    for row in usage:
        total = sums.setdefault(row.key, Usage("", row.key))
        total.day = max(total.day, row.day)
        total.requests += row.requests
        total.prompt_tokens += row.prompt_tokens
        total.completion_tokens += row.completion_tokens
    return {
        key: {name: value for name, value in asdict(row).items() if name != "key"}
        for key, row in sums.items()
    }
