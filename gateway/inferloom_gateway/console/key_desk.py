"""Keys and limits, for those who may manage them: what there is, what was used, and new ones."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import ConfigDict, Field, StringConstraints

from inferloom_gateway.access.access import Access
from inferloom_gateway.access.api_key import (
    ANY,
    MOST_AT_ONCE,
    MOST_PER_MINUTE,
    ApiKey,
    Limits,
    UnfitError,
    check_tenant,
    to_plain,
)
from inferloom_gateway.access.endpoints import NAMES
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.access.key_text import digest_of, new_key
from inferloom_gateway.access.keyring import Keyring
from inferloom_gateway.access.stores.protocol import KeyStore, StoreError, Usage
from inferloom_gateway.http.schema.base import Body, Part
from inferloom_mesh.audit import Audit
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown

T = TypeVar("T")

MOST_SHOWN = 1000
"""Keys in one answer, the newest of them."""

USAGE_SHOWN_DAYS = 30

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Rate = Annotated[int, Field(ge=0, le=MOST_PER_MINUTE)]


class NewLimits(Part):
    """How much a new key may be used; what is not said is not limited."""

    model_config = ConfigDict(strict=True, extra="forbid")

    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrent: Annotated[int, Field(ge=0, le=MOST_AT_ONCE)] | None = None


class NewKey(Body):
    """A key that is to be made."""

    endpoint: ClassVar[str] = "console"

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    tenant: Annotated[str, StringConstraints(max_length=64)] = "default"
    name: Annotated[str, StringConstraints(max_length=200)] = ""
    models: Annotated[list[Pattern], Field(max_length=64)] = Field(default_factory=list)
    endpoints: Annotated[list[str], Field(max_length=64)] = Field(default_factory=list)
    expires_in_s: Annotated[float, Field(gt=0, le=10 * 366 * 86_400)] | None = None
    limits: NewLimits = Field(default_factory=NewLimits)


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

        def take_back(store: KeyStore) -> tuple[ApiKey | None, bool]:
            key = store.read()[1].keys.get(key_id)
            if key is None or key.revoked is not None:
                return key, False
            key = replace(key, revoked=time.time())
            store.put_key(key)
            return key, True

        key, changed = await self._use(take_back)
        if key is None:
            raise InferloomError(Reason.NOT_FOUND, f"There is no key '{shown(key_id)}'.")
        if changed:
            self._note("key.revoke", who, key=key.id, tenant=key.tenant)
        return _told(key, time.time())

    async def _use(self, work: Callable[[KeyStore], T]) -> T:
        try:
            return await self._access.use_store(work)
        except UnfitError as wrong:
            raise InferloomError(Reason.INVALID_ARGUMENT, f"{wrong}.") from None
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
