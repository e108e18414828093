"""Keys, limits and what was used, as people and programs read them."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inferloom_cli import words
from inferloom_cli.moments import shown_moment
from inferloom_cli.terminal import terminal
from inferloom_gateway.access.api_key import (
    ApiKey,
    Limits,
    to_plain,
)
from inferloom_gateway.access.endpoints import NAMED_ONLY
from inferloom_gateway.access.key_text import id_of
from inferloom_gateway.access.stores.protocol import KeyStore, Usage

_DEFAULT = "default"
"""What a key opens that names no endpoints."""


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
        print(json.dumps([told(key, now) for key in keys], indent=2))
    elif keys:
        terminal().print(_table(keys, now))
    else:
        terminal().print("no keys – make one with `inferloom keys create`")


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
        made.add_row(kind, name, limits_in_words(each.limits), f"{each.share:g}" if kind == "tenant" else "–")
    terminal().print(made if rows else "no limits of tenants and models – see `inferloom keys limit`")


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
    terminal().print(made if rows else f"no key was used since {since}")


def told(key: ApiKey, now: float) -> dict[str, Any]:
    """What may be shown of a key: all but the digest."""
    plain = to_plain(key)
    del plain["digest"]
    return {**plain, "state": key.state(now)}


def _table(keys: Sequence[ApiKey], now: float) -> RenderableType:
    made = _bare_table("KEY", "TENANT", "NAME", "STATE", "EXPIRES", "MODELS", "ENDPOINTS", "LIMITS")
    for key in keys:
        state = key.state(now)
        made.add_row(
            key.id,
            key.tenant,
            key.name or "–",
            Text(state, "green" if state == "active" else "red"),
            shown_moment(key.expires),
            ", ".join(key.models),
            ", ".join(key.endpoints) or _DEFAULT,
            limits_in_words(key.limits),
        )
    if all(key.endpoints for key in keys):
        return made
    # Below the table: in it, it would be folded to its width in a pipe too.
    return Group(made, Text(f"{_DEFAULT} endpoints: all but {', '.join(NAMED_ONLY)}", style="dim"))


def _bare_table(*columns: str) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in ("KEY", "DAY"))
    return made


def limits_in_words(limits: Limits) -> str:
    """What they bound, or that nothing is."""
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
