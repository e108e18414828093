"""``inferloom keys``: API keys, what holds for them, and what they use."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from inferloom_cli import words
from inferloom_cli.moments import moment_of, shown_moment
from inferloom_cli.refusal import MISUSED, RefusedError
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
from inferloom_gateway.access.stores.protocol import KeyStore, Kind, StoreError, Usage
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
        print(json.dumps({"key": text, **_told(key, now)}))
        return
    print(text, flush=True)
    Console(stderr=True, highlight=False).print(
        f"[dim]This is key {key_id} of tenant {key.tenant}. It is shown only now: only its hash is kept.[/]"
    )


def listed(store: KeyStore, tenant: str | None, *, everything: bool, as_json: bool) -> None:
    """Print the keys, active ones or all."""
    now = time.time()
    keys = sorted(store.read()[1].keys.values(), key=lambda key: (key.tenant, key.created, key.id))
    keys = [
        key
        for key in keys
        if tenant in (None, key.tenant) and (everything or as_json or key.state(now) == "active")
    ]
    if as_json:
        print(json.dumps([_told(key, now) for key in keys], indent=2))
    elif keys:
        Console().print(_table(keys, now))
    else:
        Console().print("no keys – make one with `inferloom keys create`")


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
    _note(audit, "limits.set", kind=kind, name=name, limits=_limits(limits), share=policy.share)
    part = f", share {policy.share:g}" if kind == "tenant" else ""
    print(f"{kind} {name}: {_limits(limits)}{part}")


def policies(store: KeyStore, *, as_json: bool) -> None:
    """Print what holds for tenants and models."""
    ring = store.read()[1]
    rows = [("tenant", name, each) for name, each in sorted(ring.tenants.items())]
    rows += [("model", name, each) for name, each in sorted(ring.models.items())]
    if as_json:
        print(
            json.dumps(
                [{"kind": kind, "name": name, **to_plain(each)} for kind, name, each in rows], indent=2
            )
        )
        return
    made = _bare_table("FOR", "NAME", "LIMITS", "SHARE")
    for kind, name, each in rows:
        made.add_row(kind, name, _limits(each.limits), f"{each.share:g}" if kind == "tenant" else "–")
    Console().print(made if rows else "no limits of tenants and models – see `inferloom keys limit`")


def usage(store: KeyStore, ids: Sequence[str], days: int, *, as_json: bool) -> None:
    """Print what keys used, by day."""
    since = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
    keys = store.read()[1].keys
    wanted = {id_of(given) or given for given in ids}
    rows = [row for row in store.usage(since) if not wanted or row.key in wanted]
    if as_json:
        print(json.dumps([{**asdict(row), "tenant": _tenant(keys.get(row.key))} for row in rows], indent=2))
        return
    made = _bare_table("DAY", "KEY", "TENANT")
    for column in ("REQUESTS", "PROMPT", "ANSWER"):
        made.add_column(column, justify="right")
    for row in rows:
        made.add_row(row.day, row.key, _tenant(keys.get(row.key)), *_counts(row))
    if len(rows) > 1:
        total = Usage("", "")
        for row in rows:
            total.requests += row.requests
            total.prompt_tokens += row.prompt_tokens
            total.completion_tokens += row.completion_tokens
        made.add_section()
        made.add_row("all", "", "", *_counts(total))
    Console().print(made if rows else f"no key was used since {since}")


def _limit_key(store: KeyStore, key_id: str, limits: Limits, audit: Audit | None) -> None:
    def limited(key: ApiKey) -> ApiKey:
        return key if key.revoked is not None else replace(key, limits=limits)

    key = store.change_key(key_id, limited)
    if key is None:
        raise _unknown([key_id])
    if key.revoked is not None:
        raise RefusedError(f"{key.id} is revoked: it opens nothing, whatever its limits")
    _note(audit, "limits.set", kind="key", name=key.id, limits=_limits(limits))
    print(f"key {key.id}: {_limits(limits)}")


def _unknown(names: Sequence[str]) -> RefusedError:
    return RefusedError(
        f"there is no key {', '.join(name[:20] for name in names)} – see `inferloom keys list`"
    )


def _note(audit: Audit | None, event: str, **about: object) -> None:
    if audit is not None:
        audit.done(event, f"user:{getuser()}", **about)


def _told(key: ApiKey, now: float) -> dict[str, Any]:
    """What may be shown of a key: all but the digest."""
    plain = to_plain(key)
    del plain["digest"]
    return {**plain, "state": key.state(now)}


def _table(keys: Sequence[ApiKey], now: float) -> Table:
    made = _bare_table("KEY", "TENANT", "NAME", "STATE", "EXPIRES", "MODELS", "ENDPOINTS", "LIMITS")
    for key in keys:
        state = key.state(now)
        made.add_row(
            key.id,
            key.tenant,
            key.name or "–",
            f"[{'green' if state == 'active' else 'red'}]{state}[/]",
            shown_moment(key.expires),
            ", ".join(key.models),
            ", ".join(key.endpoints) or "all",
            _limits(key.limits),
        )
    return made


def _bare_table(*columns: str) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in ("KEY", "DAY"))
    return made


def _limits(limits: Limits) -> str:
    said = [
        f"{words.count(value)} {unit}"
        for value, unit in (
            (limits.requests_per_minute, "requests/min"),
            (limits.tokens_per_minute, "tokens/min"),
            (limits.concurrent, "at once"),
        )
        if value is not None
    ]
    return ", ".join(said) or "none"


def _tenant(key: ApiKey | None) -> str:
    return "–" if key is None else key.tenant


def _counts(row: Usage) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in (row.requests, row.prompt_tokens, row.completion_tokens))
