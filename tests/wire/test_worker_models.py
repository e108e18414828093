"""The real demo models on one worker, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.wire.running_worker import (
    RunningWorker,
    chat_request,
    limited,
    refused,
    running_worker,
    text_request,
)
from tests.worker.texts import TEXTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT, EMBEDDER = "smollm2-135m-instruct", "all-minilm-l6-v2"
GREEDY = {"sampling": pb.SamplingOptions(temperature=0)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(smollm_file: Path, minilm_folder: Path) -> AsyncIterator[RunningWorker]:
    """Both models."""
    async with running_worker(CHAT, EMBEDDER) as running:
        yield running


async def embed(worker: RunningWorker, *texts: str, **fields: Any) -> NDArray[np.float32]:
    """Vectors for texts."""
    inputs = [pb.EmbedInput(text=text) for text in texts]
    _, *parts, _ = [
        event async for event in worker.stub.Embed(pb.EmbedRequest(model=EMBEDDER, inputs=inputs, **fields))
    ]
    assert [part.part.first_input for part in parts] == np.cumsum(
        [0, *(len(part.part.embeddings) for part in parts[:-1])]
    ).tolist()
    return np.stack([np.frombuffer(item.vector, "<f4") for event in parts for item in event.part.embeddings])


async def test_the_capital_of_france_is_paris(worker: RunningWorker) -> None:
    """The chat model answers as it should."""
    answer = await worker.generate(chat_request("What is the capital of France?", model=CHAT, **GREEDY))

    assert "Paris" in answer.text()
    assert answer.all("finished")[0].reason == pb.FINISH_REASON_STOP


async def test_a_cancelled_chat_frees_its_slot(worker: RunningWorker) -> None:
    """The engine forgets it."""
    call = worker.stub.Generate(
        text_request("Once upon a time", model=CHAT, stopping=pb.StoppingOptions(ignore_eos=True))
    )
    async for event in call:
        if event.WhichOneof("event") == "delta":
            break
    call.cancel()

    await worker.until(running=0)


async def test_a_text_is_the_same_streamed_and_decoded(worker: RunningWorker) -> None:
    """The deltas' text is what their tokens stand for."""
    request = text_request("Emoji: 🎉🎊", model=CHAT, **GREEDY, **limited(24, ignore_eos=True))
    answer = await worker.generate(request)
    decoded = await worker.stub.Detokenize(
        pb.DetokenizeRequest(model=CHAT, token_ids=answer.tokens(), skip_special_tokens=True)
    )

    assert len(answer.tokens()) == 24
    assert decoded.text == answer.text()


async def test_vectors_equal_those_of_sentence_transformers(
    worker: RunningWorker, minilm_folder: Path
) -> None:
    """Cosine of at least 0.9999, alone and together with others."""
    reference = SentenceTransformer(str(minilm_folder), device="cpu").encode(list(TEXTS))
    together = await embed(worker, *TEXTS, truncate=True)
    alone = np.concatenate(await asyncio.gather(*(embed(worker, text, truncate=True) for text in TEXTS)))

    assert np.all(np.sum(reference * together, axis=1) >= 0.9999)
    assert np.all(np.sum(reference * alone, axis=1) >= 0.9999)


async def test_tokens_are_embedded_as_they_are(worker: RunningWorker) -> None:
    """The tokens of a text give the text's vector."""
    tokenized = await worker.stub.Tokenize(pb.TokenizeRequest(model=EMBEDDER, text="Hello"))
    item = pb.EmbedInput(token_ids=pb.TokenIds(ids=tokenized.token_ids))
    started, part, completed = [
        event.WhichOneof("event") and getattr(event, event.WhichOneof("event") or "")
        async for event in worker.stub.Embed(pb.EmbedRequest(model=EMBEDDER, inputs=[item]))
    ]

    vector = np.frombuffer(part.embeddings[0].vector, "<f4")
    np.testing.assert_allclose(vector, (await embed(worker, "Hello"))[0], atol=1e-5)
    assert started.prompt_tokens == completed.usage.prompt_tokens == len(tokenized.token_ids) == 3


async def test_vectors_have_unit_length_unless_told_otherwise(worker: RunningWorker) -> None:
    """MiniLM scales by itself."""
    assert np.linalg.norm(await embed(worker, "Hello")) == pytest.approx(1, abs=1e-5)
    raw = await embed(worker, "Hello", normalize=False)
    assert abs(np.linalg.norm(raw) - 1) > 0.1


@pytest.mark.parametrize(
    ("fields", "reason", "param"),
    [
        ({"inputs": []}, Reason.INVALID_ARGUMENT, "inputs"),
        ({"dimensions": 100}, Reason.UNSUPPORTED_PARAMETER, "dimensions"),
        ({"dimensions": 385}, Reason.INVALID_ARGUMENT, "dimensions"),
        ({"inputs": [pb.EmbedInput(text="word " * 300)]}, Reason.CONTEXT_LENGTH_EXCEEDED, "inputs[0]"),
        (
            {"inputs": [pb.EmbedInput(token_ids=pb.TokenIds(ids=[30522]))]},
            Reason.INVALID_ARGUMENT,
            "inputs[0].token_ids.ids[0]",
        ),
    ],
)
async def test_bad_embed_input_is_answered_and_the_next_is_fine(
    fields: dict[str, Any], reason: Reason, param: str, worker: RunningWorker
) -> None:
    """As the table says."""
    values: dict[str, Any] = {"model": EMBEDDER, "inputs": [pb.EmbedInput(text="x")], **fields}
    error = await refused(worker.stub.Embed(pb.EmbedRequest(**values)))

    assert (error.reason, error.param) == (reason, param)
    assert (await embed(worker, "ok", dimensions=384)).shape == (1, 384)


async def test_an_embedding_model_does_not_chat(worker: RunningWorker) -> None:
    """UNSUPPORTED_TASK."""
    assert (await refused(worker.stub.Generate(chat_request("x", model=EMBEDDER)))).reason is (
        Reason.UNSUPPORTED_TASK
    )
