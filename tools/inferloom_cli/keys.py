"""``inferloom keys``: API keys, what holds for them, and what they use."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from getpass import getuser
from typing import Literal

from inferloom_cli.key_views import limits_in_words, told
from inferloom_cli.moments import moment_of
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.terminal import terminal
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
from inferloom_gateway.access.endpoints import NAMES
from inferloom_gateway.access.key_text import digest_of, id_of, new_key
from inferloom_gateway.access.stores.opening import open_store
from inferloom_gateway.access.stores.protocol import KeyStore, Kind, StoreError
from inferloom_mesh.audit import Audit


@contextmanager
def opened(where: str | None, *, create: bool = False) -> Iterator[KeyStore]:
    """The store of the keys.

    Raises:
        RefusedError: Nobody said where it is, or it cannot be used.
    """
    if where is None:
        raise RefusedError(
            "say where the keys are, with --keys or INFERLOOM_KEYS: a file, or redis://…", MISUSED
        )
    try:
        store = open_store(where, create=create)
        try:
            yield store
        finally:
            store.close()
    except StoreError as failure:
        raise RefusedError(str(failure)) from failure
    except UnfitError as wrong:
        raise RefusedError(str(wrong), MISUSED) from wrong


def create(
    store: KeyStore,
    tenant: str,
    name: str,
    models: Sequence[str],
    endpoints: Sequence[str],
    expires: str | None,
    limits: Limits,
    *,
    as_json: bool,
    audit: Audit | None = None,
) -> None:
    """Make a key and print it, which is the only time that anybody sees it."""
    for endpoint in endpoints:
        if endpoint not in NAMES:
            raise RefusedError(
                f"there is no endpoint {endpoint[:80]!r}; there are {', '.join(NAMES)}", MISUSED
            )
    now = time.time()
    key_id, text = new_key()
    key = ApiKey(
        id=key_id,
        digest=digest_of(text),
        tenant=check_tenant(tenant),
        name=name[:200],
        created=now,
        expires=None if expires is None else moment_of(expires, now),
        models=tuple(models) or (ANY,),
        endpoints=tuple(endpoints),
        limits=limits,
    )
    store.put_key(key)
    _note(audit, "key.create", key=key_id, tenant=key.tenant)
    if as_json:
        print(json.dumps({"key": text, **told(key, now)}))
        return
    print(text, flush=True)
    terminal(stderr=True).print(
        f"This is key {key_id} of tenant {key.tenant}. It is shown only now: only its hash is kept.",
        style="dim",
    )


def revoke(store: KeyStore, ids: Sequence[str], audit: Audit | None = None) -> None:
    """Take keys back, given by id or whole."""
    keys, now = store.read()[1].keys, time.time()
    wanted = [id_of(given) or given for given in ids]
    if unknown := [name for name in wanted if name not in keys]:
        raise _unknown(unknown)

    def taken_back(key: ApiKey) -> ApiKey:
        return key if key.revoked is not None else replace(key, revoked=now)

    for name in wanted:
        key = store.change_key(name, taken_back)
        if key is not None and key.revoked == now:
            _note(audit, "key.revoke", key=name, tenant=key.tenant)
        print(f"{name} is revoked")


def limit(
    store: KeyStore,
    kind: Kind | Literal["key"],
    name: str,
    limits: Limits,
    share: float | None,
    *,
    remove: bool,
    audit: Audit | None = None,
) -> None:
    """Lay down what holds for a key, or for a tenant or a model or a pattern of such."""
    if kind != "tenant" and share is not None:
        raise RefusedError("only tenants have shares", MISUSED)
    if kind == "key":
        _limit_key(store, id_of(name) or name, NO_LIMITS if remove else limits, audit)
        return
    if remove:
        store.put_policy(kind, name, None)
        _note(audit, "limits.remove", kind=kind, name=name)
        print(f"{kind} {name} has no limits")
        return
    policy = Policy(limits, 1.0 if share is None else share)
    store.put_policy(kind, name, policy)
    _note(audit, "limits.set", kind=kind, name=name, **to_plain(policy))
    part = f", share {policy.share:g}" if kind == "tenant" else ""
    print(f"{kind} {name}: {limits_in_words(limits)}{part}")


def _limit_key(store: KeyStore, key_id: str, limits: Limits, audit: Audit | None) -> None:
    def limited(key: ApiKey) -> ApiKey:
        return key if key.revoked is not None else replace(key, limits=limits)

    key = store.change_key(key_id, limited)
    if key is None:
        raise _unknown([key_id])
    if key.revoked is not None:
        raise RefusedError(f"{key.id} is revoked: it opens nothing, whatever its limits")
    _note(audit, "limits.set", kind="key", name=key.id, limits=asdict(limits))
    print(f"key {key.id}: {limits_in_words(limits)}")


def _unknown(names: Sequence[str]) -> RefusedError:
    return RefusedError(
        f"there is no key {', '.join(name[:20] for name in names)} – see `inferloom keys list`"
    )


def _note(audit: Audit | None, event: str, **about: object) -> None:
    if audit is not None:
        audit.done(event, f"user:{_user()}", **about)


def _user() -> str:
    """Who runs the command: a name, or a number where the machine has none for it, as in a container."""
    try:
        return getuser()
    except (OSError, KeyError):
        return str(os.getuid())
