"""Two workers with one model name that compute differently: never mixed in one answer, and said out loud."""

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.heard import heard

TEXTS = [f"text {number}" for number in range(200)]


def unlike(name: str, compute_hash: str, numbers: int, *, card_tells: bool = True) -> FakeWorker:
    """A worker whose vectors have so many ``numbers``; its card need not tell what it computes with."""

    async def embed(worker: FakeWorker, request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
        yield pb.EmbedResponse(started=pb.EmbedStarted(model=request.model, compute_hash=compute_hash))
        await asyncio.sleep(0.01)
        vector = struct.pack(f"<{numbers}f", *[0.5] * numbers)
        for index in range(len(request.inputs)):
            part = pb.EmbedPart(first_input=index, embeddings=[pb.Embedding(vector=vector)])
            yield pb.EmbedResponse(part=part)
        yield pb.EmbedResponse(completed=pb.EmbedCompleted())

    async def generate(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        first = started(request)
        first.started.compute_hash = compute_hash
        yield first
        yield delta(compute_hash)
        yield finished()
        yield completed()

    told = compute_hash if card_tells else ""
    cards = (
        pb.Model(id="emb", tasks=[pb.TASK_EMBED], compute_hash=told),
        pb.Model(id="gen", tasks=[pb.TASK_COMPLETION], compute_hash=told),
    )
    return FakeWorker(name, models=cards, script=generate, embed_script=embed)


@pytest.mark.parametrize("card_tells", [True, False])
async def test_one_response_has_vectors_of_one_kind(card_tells: bool) -> None:
    """200 inputs in batches of 8, side by side on both workers' model: all vectors are of one of the two."""
    workers = (
        unlike("w1", "a" * 16, 384, card_tells=card_tells),
        unlike("w2", "b" * 16, 576, card_tells=card_tells),
    )
    async with gateway_mesh(*workers, embedding_batch_size=8) as mesh:
        for _ in range(5):
            response = await mesh.http.post("/v1/embeddings", json={"model": "emb", "input": TEXTS})
            assert response.status_code == 200
            lengths = Counter(len(item["embedding"]) for item in response.json()["data"])
            assert list(lengths.values()) == [200]


async def test_several_prompts_are_answered_alike() -> None:
    """The prompts of one completion request, which hash to different workers, stay with one kind."""
    async with gateway_mesh(unlike("w1", "a" * 16, 1), unlike("w2", "b" * 16, 1)) as mesh:
        for _ in range(5):
            body = {"model": "gen", "prompt": TEXTS[:20]}
            choices = (await mesh.http.post("/v1/completions", json=body)).json()["choices"]
            assert len({choice["text"] for choice in choices}) == 1


async def test_a_retry_stays_with_what_began_the_answer() -> None:
    """Vectors that were begun on a worker are not finished by one that computes differently."""
    asked: list[str] = []

    def dies(name: str, compute_hash: str) -> FakeWorker:
        made = unlike(name, compute_hash, 4)
        inner: Any = made.embed_script

        async def script(worker: FakeWorker, request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
            asked.append(name)
            async for event in inner(worker, request):
                if event.part.first_input == 1 and len(asked) == 1:
                    await heard(worker.id, request, 1)
                    await worker.kill()
                    await asyncio.Event().wait()
                yield event

        made.embed_script = script
        return made

    async with gateway_mesh(dies("w1", "a" * 16), dies("w2", "b" * 16)) as mesh:
        call = mesh.stub.Embed(pb.EmbedRequest(model="emb", inputs=[pb.EmbedInput(text="a")] * 3))
        with pytest.raises(Exception, match="was lost"):
            async for _ in call:
                pass
    assert len(asked) == 1


async def test_a_difference_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log warns once per change, and readiness names the model."""
    with caplog.at_level(logging.WARNING):
        async with gateway_mesh(unlike("w1", "a" * 16, 1), unlike("w2", "b" * 16, 1)) as mesh:
            ready = (await mesh.http.get("/health/ready")).json()
            mesh.registry.put(mesh.worker.registered())
            await mesh.lists("emb", "gen")
    assert ready["differing_models"] == {"emb": [["w1"], ["w2"]], "gen": [["w1"], ["w2"]]}
    said = [record.message for record in caplog.records if "do not compute the same" in record.message]
    assert len(said) == 2
