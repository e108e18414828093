"""Log-probabilities where a character spans tokens, and where a token has no text."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARTS: list[tuple[bytes, str]] = [
    (b"a", "a"),
    (b" \xf0\x9f", " "),
    (b"\xa4", ""),
    (b"\x97", "🤗"),
    (b"\xc3\xa9!", "é!"),
]
"""The bytes of each token, and the text that is final with it."""
TEXT = "a 🤗é!"
END = pb.TokenLogprob(token_id=99, token="<|im_end|>", token_bytes=b"<|im_end|>", logprob=-0.25, no_text=True)


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway, whose worker writes an emoji of three tokens and ends by a token."""
    shared_mesh.worker.script = write
    return shared_mesh


def entry(token_id: int, spelled: bytes) -> pb.TokenLogprob:
    """A token with three alternatives: itself, and two that are halves of characters."""
    top = [
        _top(token_id, spelled, -0.5),
        _top(101, b"\xf0\x9f", -1.5),
        _top(102, b"\xe2", -2.5),
    ]
    return pb.TokenLogprob(
        token_id=token_id,
        token=spelled.decode(errors="replace"),
        token_bytes=spelled,
        logprob=-0.5,
        top=top,
    )


def _top(token_id: int, spelled: bytes, logprob: float) -> pb.TopLogprob:
    return pb.TopLogprob(
        token_id=token_id, token=spelled.decode(errors="replace"), token_bytes=spelled, logprob=logprob
    )


async def write(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """The text, with the end token in a delta of its own or together with the last token."""
    yield started(request, worker.id)
    for number, (spelled, text) in enumerate(PARTS):
        logprobs = [entry(number, spelled)]
        if number == len(PARTS) - 1 and request.sampling.seed:
            logprobs.append(END)
        yield delta(text, index=number, logprobs=logprobs)
    if not request.sampling.seed:
        yield delta("", index=len(PARTS), logprobs=[END])
    yield finished()
    yield completed()


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Lists of the same name, one after the other."""
    return {name: [item for part in parts for item in part[name]] for name in parts[0]}


@pytest.mark.parametrize("seed", [0, 1])
async def test_completion_logprobs_spell_halves_of_characters(mesh: GatewayMesh, seed: int) -> None:
    """Three halves are three tokens and three keys, at the offset of their character in prompt and text."""
    asked: dict[str, Any] = {"model": "chat-model", "prompt": "prompt🤙", "logprobs": 3, "seed": seed}
    async with mesh.openai() as client:
        choice = (await client.completions.create(**asked)).choices[0]
        chunks = [chunk.choices[0] async for chunk in await client.completions.create(**asked, stream=True)]
    assert choice.logprobs is not None
    whole = choice.logprobs.model_dump()
    assert whole["tokens"] == ["a", r"bytes: \xf0\x9f", r"bytes:\xa4", r"bytes:\x97", "é!"]
    assert whole["text_offset"] == [7, 8, 9, 9, 10]
    assert [len(top) for top in whole["top_logprobs"]] == [3] * 5
    assert whole["top_logprobs"][2] == {r"bytes:\xa4": -0.5, r"bytes:\xf0\x9f": -1.5, r"bytes:\xe2": -2.5}
    assert choice.text == TEXT
    assert joined([chunk.logprobs.model_dump() for chunk in chunks if chunk.logprobs]) == whole
    assert "".join(chunk.text for chunk in chunks) == TEXT


@pytest.mark.parametrize("seed", [0, 1])
async def test_chat_logprobs_spell_the_content(mesh: GatewayMesh, seed: int) -> None:
    """Their bytes, joined, are the content, streamed or not: an end token is not among them."""
    asked: dict[str, Any] = {
        "model": "chat-model",
        "messages": [{"role": "user", "content": "Hi"}],
        "logprobs": True,
        "top_logprobs": 3,
        "seed": seed,
    }
    async with mesh.openai() as client:
        choice = (await client.chat.completions.create(**asked)).choices[0]
        stream = await client.chat.completions.create(**asked, stream=True)
        chunks = [chunk.choices[0] async for chunk in stream]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    spelled = bytes(byte for each in choice.logprobs.content for byte in each.bytes or ())
    assert spelled.decode() == choice.message.content == TEXT
    streamed = joined([chunk.logprobs.model_dump(exclude={"refusal"}) for chunk in chunks if chunk.logprobs])
    assert streamed["content"] == choice.logprobs.model_dump()["content"]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == TEXT
    # The role, a chunk for each token with text or entries, and the end.
    assert len(chunks) == 7


async def test_a_prompts_own_offset_counts(mesh: GatewayMesh) -> None:
    """Each of several prompts has its own beginning; that of token ids is not known."""
    async with mesh.openai() as client:
        for prompt, bases in ((["a", "four"], [1, 4]), ([[1, 2], [3]], [0, 0])):
            answer = await client.completions.create(model="chat-model", prompt=prompt, logprobs=1)
            found = [choice.logprobs for choice in answer.choices if choice.logprobs]
            assert [logprobs.text_offset[0] for logprobs in found if logprobs.text_offset] == bases


async def test_two_tokens_of_one_text_are_two_alternatives(mesh: GatewayMesh) -> None:
    """As where a vocabulary has a letter and its byte; the token itself is not listed twice."""

    async def twins(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        top = [_top(1, b"A", -0.5), _top(2, b"A", -1.5)]
        yield started(request)
        yield delta("A", logprobs=[pb.TokenLogprob(token_id=1, token_bytes=b"A", logprob=-0.5, top=top)])
        yield finished()
        yield completed()

    mesh.worker.script = twins
    async with mesh.openai() as client:
        answer = await client.completions.create(model="chat-model", prompt="a", logprobs=2)
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.top_logprobs == [{"A": -0.5, "token_id:2": -1.5}]


async def test_a_choice_that_only_ended_has_empty_lists(mesh: GatewayMesh) -> None:
    """No tokens, and still the shape."""

    async def ends(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        yield started(request)
        yield delta("", logprobs=[END])
        yield finished()
        yield completed()

    mesh.worker.script = ends
    async with mesh.openai() as client:
        answer = await client.completions.create(model="chat-model", prompt="a", logprobs=2)
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.tokens == []
