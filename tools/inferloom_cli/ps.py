"""``inferloom ps``: the workers and their leases."""

import asyncio
import json
from collections import defaultdict

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inferloom.v1.registry_pb2 import (
    LEASE_STATE_ACTIVE,
    WORKER_STATE_READY,
    ListWorkersRequest,
    ListWorkersResponse,
    RegisteredWorker,
)
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_cli import words
from inferloom_cli.calls import DEADLINE_S, calling
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_mesh.net import Address

_INTERVAL_S = 1.0
_TABLE_COLUMNS = 72
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""What a registry that is away, or is just stopping, answers."""
_NUMBERS = ("RUN", "WAIT", "KV", "TOK/S")

_DIFFERS = "[yellow]! computes differently from another worker of the same model name"


async def show(registry: Address, *, as_json: bool, shown: Credentials = NOTHING) -> None:
    """Print the workers once."""
    async with calling("registry", registry, shown) as channel:
        answer = await _list(channel)
    if as_json:
        print(to_json(answer))
    elif answer.workers:
        Console().print(table(answer))
    else:
        Console().print("no workers – start one with `inferloom worker --model NAME=SPEC`")


async def watch(
    registry: Address, *, as_json: bool, interval: float = _INTERVAL_S, shown: Credentials = NOTHING
) -> None:
    """Keep the table on the terminal up to date until the program is interrupted.

    A registry that goes away meanwhile is waited for. As JSON, print the workers in one line whenever
    something about them changed; how long ago a lease was renewed is no change.
    """
    async with calling("registry", registry, shown) as channel:
        answer = await _list(channel)
        if as_json:
            await _print_changes(channel, answer, interval)
        with Live(table(answer), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(interval)
                newer = await _list_or_none(channel)
                answer = newer or answer
                away = Text(f"the registry at {registry} is away; this is what it last said", style="yellow")
                live.update(table(answer) if newer else Group(table(answer), away), refresh=True)


async def _print_changes(channel: grpc.aio.Channel, answer: ListWorkersResponse, interval: float) -> None:
    told = None
    while True:
        if answer is not None and (facts := _facts(answer)) != told:
            told = facts
            print(to_json(answer, indent=None), flush=True)
        await asyncio.sleep(interval)
        answer = await _list_or_none(channel) or answer


def _facts(answer: ListWorkersResponse) -> bytes:
    """The answer without what changes by itself."""
    kept = ListWorkersResponse()
    kept.CopyFrom(answer)
    for row in kept.workers:
        row.ClearField("last_renewal_age")
    return kept.SerializeToString(deterministic=True)


async def _list_or_none(channel: grpc.aio.Channel) -> ListWorkersResponse | None:
    """The workers; None while the registry does not answer."""
    try:
        return await _list(channel)
    except grpc.aio.AioRpcError as failure:
        if failure.code() not in _AWAY:
            raise
        return None


def to_json(answer: ListWorkersResponse, indent: int | None = 2) -> str:
    """The workers with the contract's field names, as a JSON list."""
    fields = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(fields["workers"], indent=indent)


def table(answer: ListWorkersResponse, width: int | None = None) -> Table:
    """The workers as a table, which fits 80 columns: a worker's address stands below its name.

    On a terminal narrower than that (``width``, or as it is) each worker has a block of lines instead.
    """
    differing = _differing(answer)
    if (width or Console().width) < _TABLE_COLUMNS:
        return _blocks(answer, differing)
    made = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for column in ("WORKER", "MODELS", "STATE", "LEASE"):
        made.add_column(column, overflow="fold")
    for column in ("AGE", "TTL", *_NUMBERS):
        made.add_column(column, justify="right", no_wrap=True)
    for row in answer.workers:
        made.add_row(*_row(row, differing))
    if differing:
        made.caption = _DIFFERS
        made.caption_justify = "left"
    return made


def _differing(answer: ListWorkersResponse) -> set[str]:
    """The models that workers hold under one name and compute differently."""
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for row in answer.workers:
        for model in row.worker.models:
            kinds[model.id].add(model.compute_hash)
    return {name for name, hashes in kinds.items() if len(hashes - {""}) > 1}


def _blocks(answer: ListWorkersResponse, differing: set[str]) -> Table:
    made = Table.grid(padding=(0, 2))
    for worker in answer.workers:
        name, models, state, lease, age, ttl, *numbers = _row(worker, differing)
        made.add_row("[bold]worker[/]", name.replace("\n", " "))
        made.add_row("[bold]models[/]", models)
        made.add_row("[bold]state[/]", f"{state}[/], lease {lease}[/] ({age} of {ttl})")
        for title, number in zip(_NUMBERS, numbers, strict=True):
            made.add_row(f"[bold]{title.lower()}[/]", number)
    if differing:
        made.add_row("", _DIFFERS)
    return made


def _row(row: RegisteredWorker, differing: set[str]) -> tuple[str, ...]:
    worker, load = row.worker, row.load
    ready = worker.state == WORKER_STATE_READY
    active = row.lease_state == LEASE_STATE_ACTIVE
    return (
        f"{worker.id}\n[dim]{worker.address}[/]",
        "\n".join(f"{model.id}{' [yellow]![/]' * (model.id in differing)}" for model in worker.models) or "–",
        f"[{'green' if ready else 'yellow'}]{words.state(worker.state)}",
        f"[{'green' if active else 'red'}]{words.lease(row.lease_state)}",
        words.seconds(row.last_renewal_age),
        words.seconds(row.ttl),
        str(load.running),
        str(load.waiting),
        f"{1 - load.free_kv_tokens / load.total_kv_tokens:.0%}" if load.total_kv_tokens else "–",
        words.count(load.tokens_per_second),
    )


async def _list(channel: grpc.aio.Channel) -> ListWorkersResponse:
    stub = RegistryServiceStub(channel)
    return await stub.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
