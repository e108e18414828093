"""Rerank on a real worker, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from sentence_transformers import CrossEncoder, SentenceTransformer

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S
from tests.wire.running_worker import RunningWorker, refused, running_worker
from tests.worker import cross_encoders

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMBEDDER = "all-minilm-l6-v2"
QUERY = "What is the capital of France?"
DOCUMENTS = ["Cats sleep a lot.", "Paris is the capital of France.", "Lyon is a city in France."]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(
    minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningWorker]:
    """A cross-encoder and a model that embeds."""
    folder = cross_encoders.bert(tmp_path_factory.mktemp("ranker") / "m")
    async with running_worker(f"ranker={folder}", EMBEDDER) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same cross-encoder again."""
    return cross_encoders.bert(tmp_path / "m")


def ranking(model: str = "ranker", **fields: object) -> pb.RerankRequest:
    """A request."""
    given = {"query": QUERY, "documents": DOCUMENTS, **fields}
    return pb.RerankRequest(model=model, **given)  # type: ignore[arg-type]


async def test_documents_come_in_the_order_of_their_scores(worker: RunningWorker, folder: Path) -> None:
    """As sentence-transformers ranks them."""
    reference = CrossEncoder(str(folder), device="cpu")
    expected = reference.rank(QUERY, DOCUMENTS)
    answer = await worker.stub.Rerank(ranking(request_id="r1"))

    assert [one.index for one in answer.results] == [one["corpus_id"] for one in expected]
    np.testing.assert_allclose(
        [one.score for one in answer.results], [one["score"] for one in expected], atol=2e-3
    )
    assert (answer.model, answer.request_id) == ("ranker", "r1")
    assert answer.worker_id
    assert answer.compute_hash
    assert answer.usage.prompt_tokens == sum(len(QUERY) + len(text) + 3 for text in DOCUMENTS)
    best = await worker.stub.Rerank(ranking(top_n=1))
    assert [one.index for one in best.results] == [expected[0]["corpus_id"]]
    plain = await worker.stub.Rerank(ranking(activation=False))
    assert min(one.score for one in plain.results) < 0 or max(one.score for one in plain.results) > 1


async def test_a_model_that_embeds_ranks_by_cosine(worker: RunningWorker, minilm_folder: Path) -> None:
    """As the vectors of sentence-transformers say."""
    reference = SentenceTransformer(str(minilm_folder), device="cpu")
    query, *documents = reference.encode([QUERY, *DOCUMENTS], normalize_embeddings=True)
    cosines = np.stack(documents) @ query
    answer = await worker.stub.Rerank(ranking(EMBEDDER))

    assert [one.index for one in answer.results] == np.argsort(-cosines).tolist()
    np.testing.assert_allclose([one.score for one in answer.results], np.sort(cosines)[::-1], atol=2e-3)


async def test_pairs_have_a_query_each(worker: RunningWorker) -> None:
    """Equal texts are nearest."""
    for model in ("ranker", EMBEDDER):
        pairs = await worker.stub.Rerank(ranking(model, query="", queries=DOCUMENTS))
        alone = [
            (await worker.stub.Rerank(ranking(model, query=text, documents=[text]))).results[0].score
            for text in DOCUMENTS
        ]
        found = {one.index: one.score for one in pairs.results}
        np.testing.assert_allclose([found[i] for i in range(3)], alone, atol=2e-3)
        assert model == "ranker" or min(alone) > 0.999


async def test_many_callers_share_batches_and_one_may_leave(worker: RunningWorker) -> None:
    """Every caller gets its own scores; who leaves takes back what is not computed."""
    leaving = worker.stub.Rerank(ranking(documents=["x" * 90] * 1024, query="q"))
    async with asyncio.timeout(PATIENCE_S):
        while not (await worker.status()).load.running:
            pass  # each look is a call that gives way to everything else
    leaving.cancel()
    answers = await asyncio.gather(*(worker.stub.Rerank(ranking(query=f"q{i % 2}")) for i in range(16)))
    for i, answer in enumerate(answers):
        assert [one.index for one in answer.results] == [one.index for one in answers[i % 2].results]
    await worker.until(running=0)


async def test_what_cannot_be_ranked_is_refused_at_its_field(worker: RunningWorker) -> None:
    """In the request's own names."""
    for model, param in (("ranker", "documents[1]"), (EMBEDDER, "documents[1]")):
        error = await refused(worker.stub.Rerank(ranking(model, documents=["a", "word " * 2000])))
        assert (error.reason, error.param) == (Reason.CONTEXT_LENGTH_EXCEEDED, param)
        cut = await worker.stub.Rerank(ranking(model, documents=["a", "word " * 2000], truncate=True))
        assert len(cut.results) == 2
    error = await refused(worker.stub.Rerank(ranking(documents=[])))
    assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "documents")
    generate = pb.GenerateRequest(model="ranker", text="x")
    assert (await refused(worker.stub.Generate(generate))).reason is Reason.UNSUPPORTED_TASK
    embed = pb.EmbedRequest(model="ranker", inputs=[pb.EmbedInput(text="x")])
    assert (await refused(worker.stub.Embed(embed))).reason is Reason.UNSUPPORTED_TASK
    tokens = await worker.stub.Tokenize(pb.TokenizeRequest(model="ranker", text="ab"))
    assert len(tokens.token_ids) == 4
