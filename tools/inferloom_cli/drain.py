"""``inferloom drain``: let a worker finish and take nothing new."""

import json
from collections.abc import Sequence

from inferloom.v1.worker_pb2 import DrainRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import calling_worker
from inferloom_cli.choosing_workers import named
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.registries import asking
from inferloom_cli.steps import step
from inferloom_cli.terminal import terminal
from inferloom_mesh.durations import duration
from inferloom_mesh.net import Address

_LONGEST_S = 86_400.0
"""As long as a limit can be."""

_MARGIN_S = 30.0
"""What a worker may need beyond the limit to end what is left."""


async def drain(
    registries: Sequence[Address],
    worker: str,
    limit_s: float | None,
    *,
    as_json: bool = False,
    shown: Credentials = NOTHING,
) -> None:
    """Drain a worker, and wait until it has finished. ``limit_s`` is how long running requests may take;
    None: as long as the worker's settings say. ``shown`` says who asks.

    Raises:
        RefusedError: There is no such worker, or it refused.
    """
    async with asking(registries, shown) as ask:
        listed = await ask()
    [found] = named([row.worker for row in listed.workers], [worker])
    request = DrainRequest(limit=None if limit_s is None else duration(limit_s))
    timeout = (_LONGEST_S if limit_s is None else limit_s) + _MARGIN_S
    left = f"{worker} goes on draining, and takes no requests until it is restarted"
    with step(f"waiting for what runs on {worker}", left=left):
        async with calling_worker(found, shown) as channel:
            answer = await WorkerServiceStub(channel).Drain(request, timeout=timeout)
    ended = answer.ended_requests
    if as_json:
        print(json.dumps({"worker": worker, "ended_requests": ended}, indent=2))
        return
    rest = f"; {ended} {'request was' if ended == 1 else 'requests were'} ended at the limit" if ended else ""
    terminal().print(f"{worker} is drained{rest}")
