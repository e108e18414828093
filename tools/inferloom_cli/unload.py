"""``inferloom unload``: take a model off the workers that hold it."""

import json
from collections.abc import Sequence

from rich.console import Console

from inferloom.v1.worker_pb2 import UnloadModelRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import calling
from inferloom_cli.choosing_workers import holding
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.registries import asking
from inferloom_cli.steps import step
from inferloom_mesh.net import Address

_DEADLINE_S = 600.0
"""A worker lets the model's running requests finish first."""


async def unload(
    registries: Sequence[Address],
    model: str,
    workers: Sequence[str] = (),
    *,
    as_json: bool = False,
    shown: Credentials = NOTHING,
) -> None:
    """Unload a model, or take an alias away, on the workers of these names or on all that hold it. ``shown``
    says who asks.

    Raises:
        RefusedError: No worker holds it, or one refused.
    """
    async with asking(registries, shown) as ask:
        listed = await ask()
    chosen = holding([row.worker for row in listed.workers], model, workers)
    for each in chosen:
        with step(f"waiting for what runs on {each.id}"):
            async with calling("worker", Address.parse(each.address), shown) as channel:
                request = UnloadModelRequest(model=model)
                await WorkerServiceStub(channel).UnloadModel(request, timeout=_DEADLINE_S)
        if not as_json:
            Console().print(f"{model} is unloaded from {each.id}", markup=False, highlight=False)
    if as_json:
        print(json.dumps({"model": model, "workers": [each.id for each in chosen]}, indent=2))
