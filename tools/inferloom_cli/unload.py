"""``inferloom unload``: take a model off the workers that hold it."""

from collections.abc import Sequence

from rich.console import Console

from inferloom.v1.registry_pb2 import Worker
from inferloom.v1.worker_pb2 import UnloadModelRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import calling
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.registries import asking
from inferloom_mesh.net import Address

_DEADLINE_S = 600.0
"""A worker lets the model's running requests finish first."""


async def unload(
    registries: Sequence[Address], model: str, worker: str | None, shown: Credentials = NOTHING
) -> None:
    """Unload a model, or take an alias away, on one worker or on all that hold it. ``shown`` says who asks.

    Raises:
        RefusedError: No worker holds it, or one refused.
    """
    async with asking(registries, shown) as ask:
        listed = await ask()
    holding = [row.worker for row in listed.workers if _holds(row.worker, model)]
    chosen = [each for each in holding if worker in (None, each.id)]
    if not holding:
        raise RefusedError(f"no worker holds {model}")
    if not chosen:
        raise RefusedError(f"{worker} does not hold {model}; on: {', '.join(each.id for each in holding)}")
    for each in chosen:
        async with calling("worker", Address.parse(each.address), shown) as channel:
            request = UnloadModelRequest(model=model)
            await WorkerServiceStub(channel).UnloadModel(request, timeout=_DEADLINE_S)
        Console().print(f"{model} is unloaded from {each.id}", markup=False, highlight=False)


def _holds(worker: Worker, model: str) -> bool:
    return any(card.id == model for card in worker.models)
