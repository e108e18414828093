"""No call holds a worker's event loop: what its neighbour waits while a huge one is answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.errors import InferloomError, Reason
from tests.patience import Moment
from tests.wire.running_worker import RunningWorker, refused, running_worker

SEND = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
MOST_S = 0.4
"""What a neighbour may wait. A quiet machine needs a tenth of it, to parse what is refused; before counts
were bounded, the least of these calls took twice as long there and the longest 14 s."""


@pytest.fixture
async def worker() -> AsyncIterator[RunningWorker]:
    """A worker that serves an echo."""
    async with running_worker("echo=echo") as running:
        yield running


async def longest_wait(worker: RunningWorker, call: Callable[[Any], Any]) -> tuple[float, InferloomError]:
    """What ListModels of another connection waited at most while a call was refused, and why it was."""
    worst, over = 0.0, False

    async def look() -> None:
        nonlocal worst
        while not over:
            began = Moment.now()
            await worker.stub.ListModels(pb.ListModelsRequest())
            worst = max(worst, Moment.now() - began)
            await asyncio.sleep(0.005)

    async with grpc.aio.insecure_channel(str(worker.address), options=SEND) as channel:
        made = call(InferenceServiceStub(channel))
        looking = asyncio.create_task(look())
        failure = await refused(made)
        over = True
        await looking
    return worst, failure


def chat(messages: int, parts: int) -> pb.ChatInput:
    """A conversation of many small things."""
    message = pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="a")] * parts)
    return pb.ChatInput(messages=[message] * messages)


def detokenize(stub: Any) -> Any:
    """Three million ids."""
    return stub.Detokenize(pb.DetokenizeRequest(model="echo", token_ids=[5] * 3_000_000))


def generate(stub: Any) -> Any:
    """Three million ids to complete."""
    return stub.Generate(pb.GenerateRequest(model="echo", token_ids=pb.TokenIds(ids=[5] * 3_000_000)))


def tokenize_chat(stub: Any) -> Any:
    """Four megabytes of messages."""
    return stub.Tokenize(pb.TokenizeRequest(model="echo", chat=chat(300_000, 2)))


def tokenize_parts(stub: Any) -> Any:
    """As many parts in a few messages."""
    return stub.Tokenize(pb.TokenizeRequest(model="echo", chat=chat(10, 60_000)))


def generate_chat(stub: Any) -> Any:
    """The same, to be answered."""
    return stub.Generate(pb.GenerateRequest(model="echo", chat=chat(300_000, 2)))


@pytest.mark.parametrize(
    ("call", "reason", "param"),
    [
        (detokenize, Reason.INVALID_ARGUMENT, "token_ids"),
        (generate, Reason.CONTEXT_LENGTH_EXCEEDED, "token_ids"),
        (tokenize_chat, Reason.INVALID_ARGUMENT, "chat.messages"),
        (tokenize_parts, Reason.INVALID_ARGUMENT, "chat.messages"),
        (generate_chat, Reason.INVALID_ARGUMENT, "chat.messages"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_huge_request_is_refused_before_its_neighbours_notice(
    worker: RunningWorker, call: Callable[[Any], Any], reason: Reason, param: str
) -> None:
    """It is counted before a list is made of it."""
    worst, failure = await longest_wait(worker, call)
    assert (failure.reason, failure.param) == (reason, param)
    assert "not ready" not in failure.message, "it was begun"
    assert worst < MOST_S


async def test_fourteen_million_ids_hold_nobody_up_for_long(worker: RunningWorker) -> None:
    """All that is done with the largest message that is received is to parse it."""
    worst, failure = await longest_wait(
        worker,
        lambda stub: stub.Detokenize(pb.DetokenizeRequest(model="echo", token_ids=[5] * 14_000_000)),
    )
    assert (failure.param, "at most 262144" in failure.message) == ("token_ids", True)
    assert worst < 3 * MOST_S


async def test_a_text_of_too_many_tokens_is_not_tokenized(worker: RunningWorker) -> None:
    """The bound is said; one token fewer is answered, in a message that any client receives."""
    request = pb.TokenizeRequest(model="echo", text="a" * (2**18 + 1))
    failure = await refused(worker.stub.Tokenize(request))
    assert (failure.param, "262144" in failure.message) == ("text", True)
    answer = await worker.stub.Tokenize(pb.TokenizeRequest(model="echo", text="a" * 2**18))
    assert (len(answer.token_ids), answer.ByteSize() < 2**22) == (2**18, True)
