"""``inferloom ps``: the workers and their leases."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inferloom.v1.registry_pb2 import (
    LEASE_STATE_ACTIVE,
    WORKER_STATE_READY,
    ListWorkersResponse,
    RegisteredWorker,
)
from inferloom_cli import words
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.registries import asking
from inferloom_cli.terminal import terminal
from inferloom_mesh.net import Address

Ask = Callable[[], Awaitable[ListWorkersResponse]]

_INTERVAL_S = 1.0
_TABLE_COLUMNS = 72
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""What a registry that is away, or is just stopping, answers."""
_NUMBERS = ("RUN", "WAIT", "KV", "TOK/S")

_NOBODY = "no workers – start one with `inferloom worker --model NAME=SPEC`"
_DIFFERS = Text("! computes differently from another worker of the same model name", style="yellow")
_BREAK = Text("\n")


async def show(registries: Sequence[Address], *, as_json: bool, shown: Credentials = NOTHING) -> None:
    """Print the workers once."""
    async with asking(registries, shown) as ask:
        answer = await ask()
    if as_json:
        print(to_json(answer))
    elif answer.workers:
        terminal().print(table(answer))
    else:
        terminal().print(_NOBODY)
        if answer.frozen:
            terminal(stderr=True).print(_frozen(answer), soft_wrap=True)


async def watch(
    registries: Sequence[Address],
    *,
    as_json: bool,
    interval: float = _INTERVAL_S,
    shown: Credentials = NOTHING,
) -> None:
    """Keep the table on the terminal up to date until the program is interrupted.

    A registry that goes away meanwhile is waited for. As JSON, print all of it in one line whenever something
    changed; how long ago a lease was renewed is no change. Where the output is no terminal, the table is
    printed once.
    """
    console = terminal()
    if not (as_json or console.is_terminal):
        await show(registries, as_json=False, shown=shown)
        return
    async with asking(registries, shown) as ask:
        answer = await ask()
        if as_json:
            await _print_changes(ask, answer, interval)
        with Live(_picture(answer), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(interval)
                newer = await _or_none(ask)
                answer = newer or answer
                away = "" if newer else f"! {_named(registries)} away; this is what was last said"
                live.update(_picture(answer, away), refresh=True)


def _picture(answer: ListWorkersResponse, away: str = "") -> Group:
    """The table, and above it what must be seen: a screen that is too low cuts its end off."""
    notes = [Text(away, style="yellow")] if away else []
    if answer.frozen:
        notes.append(_frozen(answer))
    calm = ListWorkersResponse(workers=answer.workers)
    return Group(*notes, table(calm) if answer.workers else Text(_NOBODY))


async def _print_changes(ask: Ask, answer: ListWorkersResponse, interval: float) -> None:
    told = None
    while True:
        if (facts := _facts(answer)) != told:
            told = facts
            print(to_json(answer, indent=None), flush=True)
        await asyncio.sleep(interval)
        answer = await _or_none(ask) or answer


def _facts(answer: ListWorkersResponse) -> bytes:
    """The answer without what changes by itself."""
    kept = ListWorkersResponse()
    kept.CopyFrom(answer)
    for row in kept.workers:
        row.ClearField("last_renewal_age")
    return kept.SerializeToString(deterministic=True)


async def _or_none(ask: Ask) -> ListWorkersResponse | None:
    """The workers; None while no registry answers."""
    try:
        return await ask()
    except grpc.aio.AioRpcError as failure:
        if failure.code() not in _AWAY:
            raise
        return None


def to_json(answer: ListWorkersResponse, indent: int | None = 2) -> str:
    """The contract's message with its field names: the workers, and whether the registry can change them."""
    fields = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(fields, indent=indent)


def table(answer: ListWorkersResponse, width: int | None = None) -> RenderableType:
    """The workers as a table, which fits 80 columns: a worker's address stands below its name. What there is
    to say of them stands below the table, and not in it, where it is folded to its width in a pipe too.

    On a terminal narrower than that (``width``, or as it is) each worker has a block of lines instead.
    """
    differing = _differing(answer)
    if (width or terminal().width) < _TABLE_COLUMNS:
        return _blocks(answer, differing)
    made = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for column in ("WORKER", "MODELS", "STATE", "LEASE"):
        made.add_column(column, overflow="fold")
    for column in ("AGE", "TTL", *_NUMBERS):
        made.add_column(column, justify="right", no_wrap=True)
    for row in answer.workers:
        made.add_row(*_row(row, differing))
    return Group(made, *([_DIFFERS] if differing else []), *([_frozen(answer)] if answer.frozen else []))


def _frozen(answer: ListWorkersResponse) -> Text:
    said = f"! the registry has lost its store, and the workers stay as they are: {answer.frozen}"
    return Text(said, style="red")


def _differing(answer: ListWorkersResponse) -> set[str]:
    """The models that workers hold under one name and compute differently."""
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for row in answer.workers:
        for model in row.worker.models:
            kinds[model.id].add(model.definition_hash or model.compute_hash)
    return {name for name, hashes in kinds.items() if len(hashes - {""}) > 1}


def _blocks(answer: ListWorkersResponse, differing: set[str]) -> Table:
    made = Table.grid(padding=(0, 2))
    for worker in answer.workers:
        name, models, state, lease, age, ttl, *numbers = _row(worker, differing, between=" ")
        made.add_row(Text("worker", "bold"), name)
        made.add_row(Text("models", "bold"), models)
        made.add_row(Text("state", "bold"), Text.assemble(state, ", lease ", lease, f" ({age} of {ttl})"))
        for title, number in zip(_NUMBERS, numbers, strict=True):
            made.add_row(Text(title.lower(), "bold"), number)
    if differing:
        made.add_row("", _DIFFERS)
    if answer.frozen:
        made.add_row("", _frozen(answer))
    return made


def _row(row: RegisteredWorker, differing: set[str], between: str = "\n") -> tuple[Text, ...]:
    """What the columns have; ``between`` stands between a worker's name and its address."""
    worker, load = row.worker, row.load
    ready = worker.state == WORKER_STATE_READY
    active = row.lease_state == LEASE_STATE_ACTIVE
    return (
        Text.assemble(worker.id, between, (worker.address, "dim")),
        _BREAK.join(_models(row, differing)) or Text("–"),
        Text(words.state(worker.state), "green" if ready else "yellow"),
        Text(words.lease(row.lease_state), "green" if active else "red"),
        # Only who a worker renews with knows.
        Text(words.seconds(row.last_renewal_age) if row.HasField("last_renewal_age") else "–"),
        Text(words.seconds(row.ttl) if row.HasField("ttl") else "–"),
        Text(str(load.running)),
        Text(str(load.waiting)),
        Text(f"{1 - load.free_kv_tokens / load.total_kv_tokens:.0%}" if load.total_kv_tokens else "–"),
        Text(words.count(load.tokens_per_second)),
    )


def _models(row: RegisteredWorker, differing: set[str]) -> Iterator[Text]:
    """What a worker holds, and what it is loading."""
    for model in row.worker.models:
        yield Text.assemble(model.id, *([(" !", "yellow")] if model.id in differing else []))
    for name in row.worker.loading:
        yield Text.assemble(name, (" (loading)", "dim"))


def _named(registries: Sequence[Address]) -> str:
    joined = ", ".join(map(str, registries))
    return f"the registry at {joined} is" if len(registries) == 1 else f"the registries at {joined} are"
