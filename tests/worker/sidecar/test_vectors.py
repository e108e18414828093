"""Vectors, scores and tokens of servers of another make, through a real worker."""

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.wire.running_worker import refused, running_worker
from tests.worker.sidecar.fake_server import FakeServer, fake_server
from tests.worker.sidecar.served import ask, card_of, spec


async def test_vectors_scores_and_tokens_are_the_servers() -> None:
    """With what it counted."""
    server = FakeServer(paths=("/v1/embeddings", "/v1/rerank"))
    async with fake_server(server), running_worker(spec(server)) as worker:
        card = await card_of(worker)
        assert (list(card.tasks), card.embedding_dimensions) == ([pb.TASK_EMBED, pb.TASK_RERANK], 3)
        inputs = [pb.EmbedInput(text="x" * size) for size in range(1, 41)]
        events = [each async for each in worker.stub.Embed(pb.EmbedRequest(model="m", inputs=inputs))]
        assert sum(len(each.part.embeddings) for each in events) == 40
        assert events[-1].completed.usage.prompt_tokens == 80
        request = pb.RerankRequest(model="m", query="q", documents=["a", "ccc", "bb"])
        ranked = await worker.stub.Rerank(request)
        assert [(each.index, each.score) for each in ranked.results] == [(1, 3.0), (2, 2.0), (0, 1.0)]
        assert ranked.usage.prompt_tokens == 9
        tokens = await worker.stub.Tokenize(pb.TokenizeRequest(model="m", text="ab"))
        assert (list(tokens.token_ids), list(tokens.tokens)) == ([5, 6], ["a", "b"])
        text = await worker.stub.Detokenize(pb.DetokenizeRequest(model="m", token_ids=[5, 6]))
        assert text.text == "ab"
        error = await refused(worker.stub.GetTokenizer(pb.GetTokenizerRequest(model="m")))
        assert error.reason is Reason.UNSUPPORTED_TASK
        assert (await refused(worker.stub.Generate(ask()))).reason is Reason.UNSUPPORTED_TASK


async def test_a_server_that_gives_vectors_ranks_by_them() -> None:
    """Its worker compares them, as it does those of its own models."""
    server = FakeServer(paths=("/v1/embeddings",))
    async with fake_server(server), running_worker(spec(server)) as worker:
        assert list((await card_of(worker)).tasks) == [pb.TASK_EMBED]
        ranked = await worker.stub.Rerank(pb.RerankRequest(model="m", query="aaa", documents=["a", "bbb"]))
        assert [each.index for each in ranked.results] == [1, 0]
        assert ranked.results[0].score == pytest.approx(1.0)
        assert ranked.usage.prompt_tokens == 6
        cut = pb.RerankRequest(model="m", query="q", documents=["a"], max_document_tokens=3)
        error = await refused(worker.stub.Rerank(cut))
        assert (error.reason, error.param) == (Reason.UNSUPPORTED_PARAMETER, "max_document_tokens")
