"""``inferloom models``: what can be called, and where it runs."""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from rich.table import Table

from inferloom.v1.inference_pb2 import ListModelsRequest, Model
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_cli import words
from inferloom_cli.calls import DEADLINE_S, calling
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.registries import asking
from inferloom_cli.terminal import terminal
from inferloom_mesh.net import Address

Held = defaultdict[str, list[str]]
"""The compute hashes of each model, one for each worker that holds it."""


async def show(
    gateway: Address,
    registries: Sequence[Address],
    *,
    as_json: bool,
    shown: Credentials = NOTHING,
    peer: Credentials = NOTHING,
) -> None:
    """Print the models that the gateway routes to. ``shown`` says who asks it, ``peer`` who asks the
    registry."""
    async with calling("gateway", gateway, shown) as channel:
        models, held = await asyncio.gather(list_models(channel), _by_model(registries, peer))
    if as_json:
        print(
            json.dumps([MessageToDict(model, preserving_proto_field_name=True) for model in models], indent=2)
        )
    elif models:
        if isinstance(held, RefusedError):
            print(f"inferloom: how many workers hold each is not known: {held}", file=sys.stderr)
        terminal().print(table(models, None if isinstance(held, RefusedError) else held))
    else:
        terminal().print("no models – start a worker with `inferloom worker --model NAME=SPEC`")


async def list_models(channel: grpc.aio.Channel) -> list[Model]:
    """Ask the gateway behind ``channel`` for its models, in order of id."""
    stub = InferenceServiceStub(channel)
    return list((await stub.ListModels(ListModelsRequest(), timeout=DEADLINE_S)).models)


def _drawn(model: Model) -> str:
    """The values that it is drawn with where a request is silent, such as ``t=0.6 p=0.95``."""
    card = model.sampling_defaults
    return " ".join(
        f"{short}={getattr(card, name):g}" for name, short in _SHORT.items() if card.HasField(name)
    )


_SHORT: dict[Any, str] = {
    "temperature": "t",
    "top_p": "p",
    "top_k": "k",
    "min_p": "min_p",
    "repetition_penalty": "rep",
}
_OPTIONAL = {"ENGINE": lambda model: model.engine, "SAMPLING": _drawn}
"""Columns that are there only when a model has something to say in them."""


def table(models: list[Model], held: Held | None) -> Table:
    """The models as a table. ``held`` has the compute hash of each on each of its workers, None where nobody
    knows; workers that do not compute the same are marked."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    adapted = any(model.parent for model in models)
    aliased = any(model.alias_of for model in models)
    further = [*(["ADAPTER OF"] if adapted else []), *(["ALIAS OF"] if aliased else [])]
    made.add_column("MODEL", no_wrap=True)  # a name is copied from here
    for column in (*further, "TASKS"):
        made.add_column(column, overflow="fold", min_width=len("completion,") if column == "TASKS" else None)
    told = [name for name, of in _OPTIONAL.items() if any(of(model) for model in models)]
    for column in ("CONTEXT", "DTYPE", "WEIGHTS", *told, "WORKERS"):
        made.add_column(column, justify="right" if column in {"CONTEXT", "WORKERS"} else "left")
    for model in models:
        made.add_row(
            model.id,
            *([model.parent] if adapted else []),
            *([model.alias_of] if aliased else []),
            ", ".join(words.task(task) for task in model.tasks),
            f"{model.context_length:,}",
            model.dtype,
            model.quantization or model.dtype,
            *(_OPTIONAL[name](model) for name in told),
            "?" if held is None else words.workers(held[model.id]),
        )
    return made


async def _by_model(registries: Sequence[Address], peer: Credentials) -> Held | RefusedError:
    # The gateway answers for itself; a registry that is away must not hide that.
    try:
        async with asking(registries, peer) as ask:
            answer = await ask()
    except RefusedError as error:
        return error
    held: Held = defaultdict(list)
    for row in answer.workers:
        for model in row.worker.models:
            held[model.id].append(model.definition_hash or model.compute_hash)
    return held
