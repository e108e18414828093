"""A conversation over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import pytest

from inferloom.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_USER,
    GenerateRequest,
    SamplingOptions,
    StoppingOptions,
)
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_cli.conversation import Conversation, Manner
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import InferloomError, Reason
from tests.cli.fake_mesh import FakeMesh
from tests.patience import PATIENCE_S


@pytest.fixture
async def talk(mesh: FakeMesh) -> AsyncIterator[Conversation]:
    async with open_channel(mesh.address) as channel:
        manner = Manner("Be brief.", SamplingOptions(temperature=0), StoppingOptions(max_tokens=9))
        yield Conversation(InferenceServiceStub(channel), "talker", manner)


def spoken(request: GenerateRequest) -> list[tuple[int, str]]:
    return [(message.role, message.parts[0].text) for message in request.chat.messages]


async def test_an_answer_streams_and_is_remembered(mesh: FakeMesh, talk: Conversation) -> None:
    """The second question carries the first, its answer and the standing instructions."""
    assert [text async for text in talk.ask("Capital of France?")] == ["Par", "is."]
    assert [text async for text in talk.ask("Sure?")] == ["Par", "is."]
    expected = [
        (ROLE_SYSTEM, "Be brief."),
        (ROLE_USER, "Capital of France?"),
        (ROLE_ASSISTANT, "Paris."),
        (ROLE_USER, "Sure?"),
    ]
    assert expected == spoken(mesh.gateway.requests[1])


async def test_the_manner_is_sent_as_it_was_asked_for(mesh: FakeMesh, talk: Conversation) -> None:
    """A temperature of zero is sent, and what was not asked for is left to the server."""
    async for _ in talk.ask("x"):
        pass
    [request] = mesh.gateway.requests
    assert request.sampling.HasField("temperature")
    assert not request.sampling.HasField("top_p")
    assert request.stopping.max_tokens == 9


async def test_a_stopped_answer_ends_the_call_and_keeps_its_beginning(
    mesh: FakeMesh, talk: Conversation
) -> None:
    """Leaving the stream cancels the call on the server."""
    mesh.gateway.hangs = True
    async with aclosing(talk.ask("x")) as pieces:
        async for text in pieces:
            if text == "is.":
                break
        await asyncio.wait_for(mesh.gateway.said.wait(), PATIENCE_S)  # it hangs from then on
    await asyncio.wait_for(mesh.gateway.cancelled.wait(), PATIENCE_S)
    assert [turn.parts[0].text for turn in talk.turns] == ["x", "Paris."]


async def test_a_failed_answer_leaves_no_trace(mesh: FakeMesh, talk: Conversation) -> None:
    """The next question goes out as if the failed one had not been asked."""
    mesh.gateway.failure = InferloomError(Reason.WORKER_LOST, "The worker was lost.")
    with pytest.raises(grpc.aio.AioRpcError):
        async for _ in talk.ask("x"):
            pass
    assert talk.turns == []


async def test_starting_over_forgets_the_turns_but_not_the_instructions(
    mesh: FakeMesh, talk: Conversation
) -> None:
    """The next question is the first again."""
    async for _ in talk.ask("x"):
        pass
    talk.forget()
    async for _ in talk.ask("y"):
        pass
    assert spoken(mesh.gateway.requests[-1]) == [(ROLE_SYSTEM, "Be brief."), (ROLE_USER, "y")]
