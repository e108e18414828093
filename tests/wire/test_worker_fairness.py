"""Who gets how much of a worker: not who makes up names."""

import asyncio
from pathlib import Path

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.channel import open_channel
from tests.patience import PATIENCE_S
from tests.wire.running_worker import RunningWorker, limited, running_worker, text_request


async def order_of_ends(
    worker: RunningWorker, honest: list[pb.GenerateRequest], evader: list[pb.GenerateRequest]
) -> str:
    """Whose requests ended in which order, ``h`` and ``e``, where the evader's were there first."""
    ends: list[str] = []

    async def ask(stub: object, request: pb.GenerateRequest, whose: str) -> None:
        async for _ in stub.Generate(request, timeout=PATIENCE_S):  # type: ignore[attr-defined]
            pass
        ends.append(whose)

    async with open_channel(worker.address) as one, open_channel(worker.address) as other:
        first, second = InferenceServiceStub(one), InferenceServiceStub(other)
        asking = [asyncio.create_task(ask(first, request, "e")) for request in evader]
        await worker.until(running=1, waiting=len(evader) - 1)
        asking += [asyncio.create_task(ask(second, request, "h")) for request in honest]
        await asyncio.gather(*asking)
    return "".join(ends)


@pytest.mark.slow
@pytest.mark.parametrize("trick", ["cache_salt", "priority"])
async def test_a_client_cannot_take_the_turns_of_another(smollm_file: Path, trick: str) -> None:
    """With a fresh salt in every request, or the highest priority: the other's eight come every second
    turn."""
    evader = [text_request(f"number {i}:", model="m", **limited(24)) for i in range(16)]
    honest = [text_request(f"letter {i}:", model="m", **limited(24)) for i in range(8)]
    for i, request in enumerate(evader):
        if trick == "priority":
            request.priority = 100
        else:
            request.cache_salt = f"salt {i}"
    async with running_worker(f"m={smollm_file}", max_running=1) as worker:
        ends = await order_of_ends(worker, honest, evader)
    assert ends.rindex("h") < len(ends) - 4, ends
