"""Embed requests with more than a model reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.patience import within
from tests.wire.running_worker import refused, running_worker
from tests.wire.test_worker_held import MOST_S, longest_wait


def embedding(request: pb.EmbedRequest) -> Callable[[Any], Any]:
    """What sends this request on a stub."""
    return lambda stub: stub.Embed(request)


async def test_millions_of_ids_are_refused_before_their_neighbours_notice(minilm_folder: Path) -> None:
    """Whether or not they may be cut; an input that is not much too long is cut."""
    async with running_worker(f"m={minilm_folder}") as worker:
        for truncate, reason in ((False, Reason.CONTEXT_LENGTH_EXCEEDED), (True, Reason.INVALID_ARGUMENT)):
            request = pb.EmbedRequest(model="m", truncate=truncate)
            request.inputs.add().token_ids.ids.extend([5] * 3_000_000)
            worst, failure = await longest_wait(worker, embedding(request))
            assert (failure.reason, failure.param) == (reason, "inputs[0]")
            assert worst < MOST_S
            known = "This model's maximum context length is"  # the words that clients look for
            assert failure.message.startswith(known) == (reason is Reason.CONTEXT_LENGTH_EXCEEDED)
        request = pb.EmbedRequest(model="m", truncate=True)
        request.inputs.add().token_ids.ids.extend([5] * 100_000)
        async with within(30):
            assert [event.part.first_input async for event in worker.stub.Embed(request)]
        assert (await refused(worker.stub.Embed(pb.EmbedRequest(model="m")))).param == "inputs"
