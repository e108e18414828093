"""``inferloom drain``: let a worker finish and take nothing new."""

from collections.abc import Sequence

from rich.console import Console

from inferloom.v1.worker_pb2 import DrainRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import calling
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.registries import asking
from inferloom_mesh.durations import duration
from inferloom_mesh.net import Address

_LONGEST_S = 86_400.0
"""As long as a limit can be."""

_MARGIN_S = 30.0
"""What a worker may need beyond the limit to end what is left."""


async def drain(
    registries: Sequence[Address], worker: str, limit_s: float | None, shown: Credentials = NOTHING
) -> None:
    """Drain a worker, and wait until it has finished. ``limit_s`` is how long running requests may take;
    None: as long as the worker's settings say. ``shown`` says who asks.

    Raises:
        RefusedError: There is no such worker, or it refused.
    """
    async with asking(registries, shown) as ask:
        listed = await ask()
    found = [row.worker for row in listed.workers if row.worker.id == worker]
    if not found:
        known = ", ".join(row.worker.id for row in listed.workers) or "none"
        raise RefusedError(f"no worker is called {worker}; there are: {known}")
    request = DrainRequest(limit=None if limit_s is None else duration(limit_s))
    timeout = (_LONGEST_S if limit_s is None else limit_s) + _MARGIN_S
    async with calling("worker", Address.parse(found[0].address), shown) as channel:
        answer = await WorkerServiceStub(channel).Drain(request, timeout=timeout)
    ended = answer.ended_requests
    rest = f"; {ended} {'request was' if ended == 1 else 'requests were'} ended at the limit" if ended else ""
    Console().print(f"{worker} is drained{rest}", markup=False, highlight=False)
