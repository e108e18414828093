"""``inferloom ps``: the workers and their leases."""

import asyncio
import json
from collections import defaultdict

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.live import Live
from rich.table import Table

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
from inferloom_mesh.net import Address

_INTERVAL_S = 1.0


async def show(registry: Address, *, as_json: bool) -> None:
    """Print the workers once."""
    async with calling("registry", registry) as channel:
        answer = await _list(channel)
    if as_json:
        print(to_json(answer))
    elif answer.workers:
        Console().print(table(answer))
    else:
        Console().print("no workers – start one with `inferloom worker --model NAME=SPEC`")


async def watch(registry: Address) -> None:
    """Keep the table on the terminal up to date until the program is interrupted."""
    async with calling("registry", registry) as channel:
        with Live(table(await _list(channel)), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(_INTERVAL_S)
                live.update(table(await _list(channel)), refresh=True)


def to_json(answer: ListWorkersResponse) -> str:
    """The workers with the contract's field names, as a JSON list."""
    fields = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(fields["workers"], indent=2)


def table(answer: ListWorkersResponse) -> Table:
    """The workers as a table, which fits 80 columns: a worker's address stands below its name."""
    made = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for column in ("WORKER", "MODELS", "STATE", "LEASE"):
        made.add_column(column, overflow="fold")
    for column in ("AGE", "TTL", "RUN", "WAIT", "KV", "TOK/S"):
        made.add_column(column, justify="right", no_wrap=True)
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for row in answer.workers:
        for model in row.worker.models:
            kinds[model.id].add(model.compute_hash)
    differing = {name for name, hashes in kinds.items() if len(hashes - {""}) > 1}
    for row in answer.workers:
        made.add_row(*_row(row, differing))
    if differing:
        made.caption = "[yellow]! computes differently from another worker of the same model name"
        made.caption_justify = "left"
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
