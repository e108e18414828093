"""Servers that go, come, fail and change: their models are there when they are."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_mesh.errors import Reason
from inferloom_worker.engines.sidecar import watch
from inferloom_worker.hosting.sidecar import shared
from tests.patience import PATIENCE_S
from tests.wire.running_worker import limited, refused, running_worker, text_request
from tests.worker.sidecar.fake_server import FakeServer, Say, chunk, event, fake_server
from tests.worker.sidecar.served import ask, card_of, looked, spec, until_models


async def test_a_server_that_goes_takes_its_model_out_and_brings_it_back() -> None:
    """While it is away the worker is starting; calls are told to come later, and the name stays known."""
    async with fake_server() as server, running_worker(spec(server)) as worker:
        server.healthy = 503
        await until_models(worker, [])
        status = (await worker.status()).worker
        assert (status.state, list(status.loading)) == (rpb.WORKER_STATE_STARTING, ["m"])
        assert (await refused(worker.stub.Generate(ask()))).reason is Reason.NO_WORKER
        server.healthy, server.model["max_model_len"] = 200, 50
        await until_models(worker, ["m"])
        assert (await card_of(worker)).context_length == 50  # as it is now
        assert (await worker.generate(ask())).text() == "Hello"


async def test_a_server_that_comes_back_with_other_slots_is_sent_as_many() -> None:
    """Not as many as it had when it was loaded."""
    server = FakeServer(kind="llama-server", model={"id": "m", "meta": {}})
    async with fake_server(server), running_worker(spec(server)) as worker:
        assert (await worker.status()).models[0].slots == 2
        server.healthy, server.slots = 503, 5
        await until_models(worker, [])
        server.healthy = 200
        await until_models(worker, ["m"])
        assert (await worker.status()).models[0].slots == 5


async def test_a_server_that_is_not_there_is_away_until_it_comes() -> None:
    """The worker serves its other models meanwhile."""
    async with fake_server() as server:
        port = server.port
    async with running_worker(spec(server), "e=echo") as worker:
        status = (await worker.status()).worker
        assert ([card.id for card in status.models], list(status.loading)) == (["e"], ["m"])
        assert (await worker.generate(text_request("a", model="e", **limited(2)))).text() == "aa"
        error = await refused(worker.stub.Generate(ask()))
        assert (error.reason, "cannot be reached" in error.message) == (Reason.NO_WORKER, True)
        embed = worker.stub.Embed(pb.EmbedRequest(model="m", inputs=[pb.EmbedInput(text="a")]))
        assert (await refused(embed)).reason is Reason.NO_WORKER  # what it can do is not known
        async with fake_server(FakeServer(), port):
            await until_models(worker, ["e", "m"])
            assert (await worker.generate(ask())).text() == "Hello"


@pytest.mark.parametrize("words", ["", "Internal server error"])
@pytest.mark.parametrize("in_stream", [False, True])
async def test_a_server_that_fails_is_looked_at(
    in_stream: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM whose engine died answers 500, or says so in the streams that had begun; its health tells, so that
    another worker takes the request, as of any server that died."""
    monkeypatch.setattr(watch, "BEAT_S", 3600.0)

    async def dying(body: dict[str, Any], say: Say) -> None:
        await say(event(said))

    said = {"error": {"message": words, "type": "InternalServerError", "code": 500}}
    server = FakeServer(script=dying) if in_stream else FakeServer(refusal=(500, said, {}))
    async with fake_server(server), running_worker(spec(server)) as worker:
        await looked(server)
        server.healthy = 503
        assert (await refused(worker.stub.Generate(ask()))).reason is Reason.WORKER_LOST
        await until_models(worker, [])


@pytest.mark.parametrize("word", ["abort", "error"])
@pytest.mark.parametrize("well", [True, False])
async def test_an_answer_that_a_server_gives_up_is_its_failure_with_the_request(
    word: str, well: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is the end of the server, as a look says; one that is well keeps its model."""
    monkeypatch.setattr(watch, "BEAT_S", 3600.0)

    async def giving_up(body: dict[str, Any], say: Say) -> None:
        await say(event(chunk(finish=word)))

    server = FakeServer(script=giving_up)
    async with fake_server(server), running_worker(spec(server)) as worker:
        await looked(server)
        server.healthy = 200 if well else 503
        error = await refused(worker.stub.Generate(ask()))
        assert error.reason is (Reason.SERVER_ERROR if well else Reason.WORKER_LOST)
        assert f"gave the answer up ({word})" in error.message
        await until_models(worker, ["m"] if well else [])


async def test_vectors_and_tokens_that_fail_have_their_server_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As answers do."""
    monkeypatch.setattr(watch, "BEAT_S", 3600.0)
    embed = pb.EmbedRequest(model="m", inputs=[pb.EmbedInput(text="a")])
    for method, request in (("Embed", embed), ("Tokenize", pb.TokenizeRequest(model="m", text="a"))):
        server = FakeServer(paths=("/v1/embeddings",))
        async with fake_server(server), running_worker(spec(server)) as worker:
            await looked(server)
            server.healthy = server.texts = 503
            await refused(getattr(worker.stub, method)(request))
            server.texts = 500
            await refused(getattr(worker.stub, method)(request))
            await until_models(worker, [])


async def test_a_server_that_refuses_the_key_or_lost_its_model_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With that reason, in the log too, until it is mended."""
    monkeypatch.setattr(watch, "BEAT_S", 3600.0)
    monkeypatch.setattr(watch, "REMOTE_BEAT_S", 0.01)
    caplog.set_level("INFO")
    async with fake_server() as server, running_worker(spec(server, model="m")) as worker:
        server.refusal, server.key = (401, {}, {}), "another"
        assert (await refused(worker.stub.Generate(ask()))).reason is Reason.NO_WORKER
        await until_models(worker, [])
        assert "refuses the key" in (await refused(worker.stub.Generate(ask()))).message
        server.refusal, server.key = None, ""
        await until_models(worker, ["m"])
        server.refusal, server.model = (404, {}, {}), {"id": "other"}
        await refused(worker.stub.Generate(ask()))
        await until_models(worker, [])
        assert "has no model 'm'" in (await refused(worker.stub.Generate(ask()))).message
    said = [record.message for record in caplog.records if "cannot be used" in record.message]
    assert ["refuses the key" in said[0], "has no model 'm'" in said[1], len(said)] == [True, True, 2]


async def test_answers_of_a_server_that_vanished_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections do not; what still comes goes on."""
    monkeypatch.setattr(watch, "LATE_S", 0.3)
    monkeypatch.setattr(watch, "BEAT_S", 0.01)
    monkeypatch.setattr(shared, "SILENCE_S", 2.0)
    begun, vanished, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(body: dict[str, Any], say: Say) -> None:
        if body["messages"][0]["content"] == "silent":
            await say(event(chunk("a")))
            begun.set()
            await over.wait()
        while not over.is_set():
            await say(event(chunk("a")))
            await asyncio.sleep(0.01)
        await say(event(chunk(finish="stop")))

    server = FakeServer(script=script, paths=("/v1/chat/completions", "/v1/embeddings"))
    about = server._about

    async def gone(request: web.Request) -> web.StreamResponse:
        if vanished.is_set():
            await over.wait()
        return await about(request)

    monkeypatch.setattr(server, "_about", gone)
    async with fake_server(server), running_worker(spec(server)) as worker:
        silent = asyncio.create_task(refused(worker.stub.Generate(ask("silent"))))
        lively = asyncio.create_task(worker.generate(ask("more")))
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        vanished.set()
        embed = pb.EmbedRequest(model="m", inputs=[pb.EmbedInput(text="a")])
        for error in await asyncio.gather(silent, refused(worker.stub.Embed(embed))):
            assert (error.reason, "nothing comes from it" in error.message) == (Reason.WORKER_LOST, True)
        over.set()
        assert [each.reason for each in (await lively).all("finished")] == [pb.FINISH_REASON_STOP]
