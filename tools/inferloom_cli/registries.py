"""Asking registries for the workers: all of them, because each knows most of those that renew with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc

from inferloom.v1.registry_pb2 import ListWorkersRequest, ListWorkersResponse, RegisteredWorker
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_cli.calls import DEADLINE_S, opened
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.trouble import trouble_of
from inferloom_mesh.net import Address

OTHERS_S = 2.0
"""Seconds that further registries get to answer, where there are several."""


@asynccontextmanager
async def asking(
    registries: Sequence[Address], shown: Credentials = NOTHING
) -> AsyncIterator[Callable[[], Awaitable[ListWorkersResponse]]]:
    """What asks for the workers, inside the block.

    Raises:
        RefusedError: No registry answers.
    """
    async with AsyncExitStack() as open_ones:
        channels = [
            await open_ones.enter_async_context(opened("registry", each, shown)) for each in registries
        ]
        deadline = DEADLINE_S if len(channels) == 1 else OTHERS_S

        async def ask() -> ListWorkersResponse:
            calls = [
                RegistryServiceStub(each).ListWorkers(ListWorkersRequest(), timeout=deadline)
                for each in channels
            ]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            good = [each for each in answers if isinstance(each, ListWorkersResponse)]
            if not good:
                raise next(each for each in answers if isinstance(each, BaseException))
            return merged(good)

        try:
            yield ask
        except grpc.aio.AioRpcError as failure:
            raise RefusedError(str(trouble_of(failure, "registry", registries[0], shown))) from failure


def merged(answers: Sequence[ListWorkersResponse]) -> ListWorkersResponse:
    """One answer of several: of each worker its newest registration, as told by who it renews with. It is
    frozen if one of them is, and settles if all do. Revisions are each registry's own."""
    if len(answers) == 1:
        return answers[0]
    best: dict[str, RegisteredWorker] = {}
    for row in (row for answer in answers for row in answer.workers):
        known = best.get(row.worker.id)
        if known is None or _rank(row) > _rank(known):
            best[row.worker.id] = row
    frozen = next((answer.frozen for answer in answers if answer.frozen), "")
    settling = all(answer.settling for answer in answers)
    return ListWorkersResponse(
        workers=[best[name] for name in sorted(best)], frozen=frozen, settling=settling
    )


def _rank(row: RegisteredWorker) -> tuple[int, bool]:
    return row.epoch, row.HasField("ttl")
