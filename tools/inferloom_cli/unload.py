"""``inferloom unload``: take a model off the workers that hold it."""

import json
from collections.abc import Sequence

from inferloom.v1.worker_pb2 import UnloadModelRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import calling_worker
from inferloom_cli.choosing_workers import holding
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.registries import asking
from inferloom_cli.steps import step
from inferloom_cli.terminal import terminal
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
        RefusedError: No worker holds it, or one refused; what the others did is printed first.
    """
    async with asking(registries, shown) as ask:
        listed = await ask()
    chosen = holding([row.worker for row in listed.workers], model, workers)
    done: list[str] = []
    refusals: list[str] = []
    for each in chosen:
        try:
            left = f"{each.id} goes on taking {model} away"
            with step(f"waiting for what runs on {each.id}", left=left):
                async with calling_worker(each, shown) as channel:
                    request = UnloadModelRequest(model=model)
                    await WorkerServiceStub(channel).UnloadModel(request, timeout=_DEADLINE_S)
        except RefusedError as refusal:
            refusals.append(f"{each.id}: {refusal}")
            continue
        done.append(each.id)
        if not as_json:
            terminal().print(f"{model} is unloaded from {each.id}")
    if as_json:
        print(json.dumps({"model": model, "workers": done}, indent=2))
    if refusals:
        raise RefusedError("; ".join(refusals))
