"""Reranking and scores over a real gateway, in the shapes of Jina's, Cohere's and vLLM's clients."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema import answers
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.named_fields import named
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import CHAT, FakeWorker
from tests.wire.gateway_mesh import gateway_mesh

RANKER = pb.Model(id="ranker", tasks=[pb.TASK_RERANK], context_length=128)
EMBEDDER = pb.Model(id="embedder", tasks=[pb.TASK_EMBED], context_length=128)
MODELS = (RANKER, EMBEDDER, CHAT)
DOCUMENTS = ["b", "c", "d"]
RANK: dict[str, Any] = {"model": "ranker", "query": "a", "documents": DOCUMENTS}
PAIR: dict[str, Any] = {"model": "ranker", "text_1": "a", "text_2": DOCUMENTS}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_documents_are_ranked_under_every_path(path: str) -> None:
    """With their texts, as vLLM answers."""
    async with gateway_mesh(FakeWorker(models=MODELS)) as mesh:
        answer = await mesh.http.post(path, json=RANK)
        body = answers.Ranking.model_validate(answer.json())

        assert [one.index for one in body.results] == [0, 1, 2]
        assert [one.document and one.document.text for one in body.results] == DOCUMENTS
        assert [one.relevance_score for one in body.results] == pytest.approx([1, 1 / 2, 1 / 3])
        assert body.id == f"rerank-{answer.headers['x-request-id']}"
        assert answer.headers["x-inferloom-worker"] == "worker-1"


async def test_the_parameters_reach_the_worker() -> None:
    """Each in the contract's field."""
    async with gateway_mesh(FakeWorker(models=MODELS)) as mesh:
        asked = {
            **RANK,
            "documents": ["b", {"text": "c"}],
            "top_n": 1,
            "return_documents": False,
            "max_tokens_per_doc": 7,
            "truncate_prompt_tokens": 40,
            "activation": False,
        }
        body = (await mesh.http.post("/v1/rerank", json=asked)).json()
        request = mesh.worker.requests[-1]
        assert "document" not in body["results"][0]
        assert (list(request.documents), request.query, request.top_n) == (["b", "c"], "a", 1)
        assert (request.max_document_tokens, request.max_tokens) == (7, 40)
        assert (request.activation, request.HasField("truncate")) == (False, False)
        await mesh.http.post("/v1/rerank", json={**RANK, "truncate_prompt_tokens": -1, "top_n": 0})
        request = mesh.worker.requests[-1]
        assert (request.truncate, request.HasField("max_tokens"), request.HasField("top_n")) == (
            True,
            False,
            False,
        )


async def test_scores_are_in_the_order_of_the_pairs() -> None:
    """One text with each of several, or as many with as many, under any of the names."""
    async with gateway_mesh(FakeWorker(models=MODELS)) as mesh:
        answer = await mesh.http.post("/v1/score", json=PAIR)
        body = answers.ScoreList.model_validate(answer.json())
        assert [one.index for one in body.data] == [0, 1, 2]
        assert mesh.worker.requests[-1].query == "a"
        for path, names in (("/score", ("queries", "documents")), ("/v1/score", ("data_1", "data_2"))):
            sides = dict(zip(names, (DOCUMENTS, DOCUMENTS), strict=True))
            assert (await mesh.http.post(path, json={"model": "ranker", **sides})).status_code == 200
            assert list(mesh.worker.requests[-1].queries) == DOCUMENTS


async def test_a_model_that_embeds_is_asked_too() -> None:
    """Its worker compares vectors; a model that does neither is refused."""
    async with gateway_mesh(FakeWorker(models=MODELS)) as mesh:
        assert (await mesh.http.post("/v1/rerank", json={**RANK, "model": "embedder"})).status_code == 200
        request = pb.RerankRequest(model="embedder", query="a", documents=DOCUMENTS)
        assert len((await mesh.stub.Rerank(request)).results) == 3
        answer = await mesh.http.post("/v1/rerank", json={**RANK, "model": "chat-model"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "unsupported_task")
        assert error["message"] == "The model 'chat-model' does not serve reranking."


async def test_an_order_moves_to_another_worker() -> None:
    """One that is lost while it ranks costs time only."""
    lost = FakeWorker("a", models=MODELS)

    async def vanish(request: Any) -> None:
        await lost.kill()

    lost.on_unary = vanish
    async with gateway_mesh(lost, FakeWorker("b", models=MODELS)) as mesh:
        for _ in range(2):  # one of them meets it
            answer = await mesh.http.post("/v1/rerank", json=RANK)
            assert (answer.status_code, answer.headers["x-inferloom-worker"]) == (200, "b")
        assert len(lost.requests) == 1


async def test_a_client_that_leaves_ends_the_work() -> None:
    """The worker's call is cancelled."""
    worker = FakeWorker(models=MODELS)

    async def hang(request: Any) -> None:
        worker.accepted.set()
        await asyncio.Event().wait()

    worker.on_unary = hang
    async with gateway_mesh(worker) as mesh:
        asking = asyncio.create_task(mesh.http.post("/v1/rerank", json=RANK))
        await asyncio.wait_for(worker.accepted.wait(), PATIENCE_S)
        asking.cancel()
        await asyncio.wait_for(worker.cancelled.wait(), PATIENCE_S)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"model": "ranker", "query": "a"}, "documents"),
        ("/v1/rerank", {**RANK, "documents": []}, "documents"),
        ("/v1/rerank", {**RANK, "documents": "b"}, "documents"),
        ("/v1/rerank", {**RANK, "documents": ["b", 3]}, "documents[1]"),
        ("/v1/rerank", {**RANK, "documents": [{"image": "https://a.example"}]}, "documents[0].text"),
        ("/v1/rerank", {**RANK, "documents": ["b"] * 1025}, "documents"),
        ("/v1/rerank", {**RANK, "top_n": -1}, "top_n"),
        ("/v1/rerank", {**RANK, "truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ("/v1/rerank", {**RANK, "query": None}, "query"),
        ("/v1/score", {"model": "ranker", "text_1": "a"}, "text_2"),
        ("/v1/score", {"model": "ranker", "text_2": "a"}, "text_1"),
        ("/v1/score", {**PAIR, "queries": "a"}, "queries"),
        ("/v1/score", {**PAIR, "text_1": ["a", "b"]}, "text_1"),
        ("/v1/score", {**PAIR, "text_1": [1]}, "text_1[0]"),
    ],
)
async def test_a_bad_body_is_refused_at_its_field(path: str, body: Any, param: str) -> None:
    """Without asking a worker."""
    async with gateway_mesh(FakeWorker(models=MODELS)) as mesh:
        answer = await mesh.http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert not mesh.worker.requests


async def test_a_workers_refusal_is_in_the_callers_names() -> None:
    """A document of a score is a text of its second side."""
    worker = FakeWorker(models=MODELS)

    async def refuse(request: Any) -> None:
        message = f"Too many tokens (the query and {named('documents[1]')})."
        raise InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, message, param="documents[1]")

    worker.on_unary = refuse
    async with gateway_mesh(worker) as mesh:
        for path, body, param in (
            ("/v1/rerank", RANK, "documents[1]"),
            ("/v1/score", PAIR, "text_2[1]"),
            ("/v1/score", {"model": "ranker", "queries": "a", "items": DOCUMENTS}, "items[1]"),
        ):
            error = (await mesh.http.post(path, json=body)).json()["error"]
            assert (error["param"], error["code"]) == (param, "context_length_exceeded")
            assert f"the query and {param})" in error["message"]
