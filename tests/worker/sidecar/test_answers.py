"""Answers of servers of another make, through a real worker."""

import asyncio
from typing import Any

import grpc
import pytest
from aiohttp import web

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom_mesh.errors import Reason
from inferloom_worker.engines.sidecar import watch
from inferloom_worker.hosting.sidecar import shared
from inferloom_worker.sourcing.sources import SourceError
from tests.patience import PATIENCE_S, undisturbed, until_async
from tests.wire.running_worker import (
    RunningWorker,
    chat_request,
    limited,
    refused,
    running_worker,
    text_request,
)
from tests.worker.sidecar.fake_server import (
    DONE,
    USAGE,
    FakeServer,
    Say,
    chunk,
    event,
    fake_server,
    lost_in_the_middle,
    until_left,
)


def spec(server: FakeServer, **options: str) -> str:
    """The server as a worker's model ``m``."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"m=sidecar:{server.url}?{query}"


async def card_of(worker: RunningWorker) -> pb.Model:
    """The card of the one model of a worker."""
    card: pb.Model = (await worker.stub.ListModels(pb.ListModelsRequest())).models[0]
    return card


def ask(text: str = "hello", **fields: Any) -> pb.GenerateRequest:
    """A question for the model."""
    return chat_request(text, model="m", **fields)


async def test_a_conversation_is_asked_and_its_answer_told_with_what_it_used() -> None:
    """The card says who answers and what it honours, and promises no continuation elsewhere."""
    async with fake_server() as server, running_worker(spec(server)) as worker:
        card = await card_of(worker)
        assert (card.engine, card.server, card.root, card.context_length) == (
            "sidecar",
            "vllm 0.99",
            "m",
            100,
        )
        assert list(card.tasks) == [pb.TASK_CHAT, pb.TASK_COMPLETION]
        assert {"top_k", "min_tokens", "tools", "constraint"} <= set(card.supported_parameters)
        assert not {"resume", "prediction", "suffix"} & set(card.supported_parameters)
        answer = await worker.generate(ask(**limited(9), sampling=pb.SamplingOptions(temperature=0.7)))

    assert answer.text() == "Hello"
    assert [each.reason for each in answer.all("finished")] == [pb.FINISH_REASON_STOP]
    assert answer.all("finished")[0].completion_tokens == 3
    usage = answer.all("completed")[0].usage
    assert (usage.prompt_tokens, usage.cached_prompt_tokens, usage.completion_tokens) == (7, 4, 3)
    assert usage.reasoning_tokens == 1
    (body,) = server.asked
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.7, 9, True)
    assert "top_p" not in body  # the server has its own


async def test_token_ids_log_probabilities_reasoning_and_calls_come_as_the_contracts() -> None:
    """Ids where the server tells them; alternatives that it tells by their text have none."""

    async def script(body: dict[str, Any], say: Say) -> None:
        assert body["return_token_ids"] is True
        call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a'}}
        for delta, ids in (
            ({"reasoning": "hm"}, [1]),
            ({"tool_calls": [call]}, [2]),
            ({"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}]}, [3, 4]),
        ):
            told = {"index": 0, "delta": delta, "finish_reason": None, "token_ids": ids}
            top = [{"token": "x", "logprob": -0.5}, {"token": "y", "logprob": -1.5}]
            entry = {"token": "x", "bytes": [120], "logprob": -0.5, "top_logprobs": top}
            told["logprobs"] = {"content": [entry] * len(ids)}
            await say(event({"choices": [told], "prompt_token_ids": [8, 9]}))
        await say(event(chunk(finish="stop")) + event(USAGE) + DONE)

    tool = pb.Tool(name="look", parameters_json_schema='{"type": "object"}')
    request = ask(output=pb.OutputOptions(logprobs=True, top_logprobs=1, prompt_token_ids=True))
    request.chat.tools.append(tool)
    async with fake_server(FakeServer(script=script)) as server, running_worker(spec(server)) as worker:
        answer = await worker.generate(request)

    assert answer.all("prompt")[0].token_ids == [8, 9]
    assert answer.tokens() == [1, 2, 3, 4]
    deltas = answer.all("delta")
    assert "".join(delta.reasoning for delta in deltas) == "hm"
    parts = [part for delta in deltas for part in delta.tool_calls]
    assert [(part.index, part.id, part.name) for part in parts] == [(0, "c1", "look"), (0, "", "")]
    assert "".join(part.arguments for part in parts) == '{"a": 1}'
    entries = [entry for delta in deltas for entry in delta.logprobs]
    assert [entry.token_id for entry in entries] == [1, 2, 3, 4]
    assert [[(top.token_id, top.token) for top in entry.top] for entry in entries] == [
        [(token, "x")] for token in (1, 2, 3, 4)
    ]
    assert answer.all("finished")[0].reason == pb.FINISH_REASON_TOOL_CALLS
    assert answer.all("finished")[0].completion_tokens == 4


@pytest.mark.parametrize(
    ("template", "reads"),
    [
        ("{{ messages[0].content }}{{ reasoning_effort }}", True),
        ("{{ messages[0].content }}", False),
        ("{{ messages[0].content", False),
        ("{{ " + "(" * 20_000, False),
    ],
)
async def test_a_llama_servers_template_says_what_it_reads(template: str, reads: bool) -> None:
    """What is no template tells nothing."""
    fake = FakeServer(kind="llama-server", template=template)
    async with fake_server(fake) as server, running_worker(spec(server)) as worker:
        assert ("reasoning_effort" in (await card_of(worker)).supported_parameters) is reads


async def test_what_a_server_does_not_honour_is_refused_by_name() -> None:
    """And nothing is asked of it; a value that asks for nothing is no reason."""
    async with fake_server(FakeServer(kind="ollama")) as server, running_worker(spec(server)) as worker:
        assert (await card_of(worker)).server == "ollama 0.9"
        for fields, param in (
            ({"sampling": pb.SamplingOptions(top_k=3)}, "sampling.top_k"),
            ({"stopping": pb.StoppingOptions(min_tokens=3)}, "stopping.min_tokens"),
            ({"constraint": pb.Constraint(regex="a")}, "constraint.regex"),
            ({"output": pb.OutputOptions(logprobs=True)}, "output.logprobs"),
        ):
            error = await refused(worker.stub.Generate(ask(**fields)))
            assert (error.reason, error.param) == (Reason.UNSUPPORTED_PARAMETER, param)
        required = ask()
        required.chat.tools.add(name="look")
        required.chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
        error = await refused(worker.stub.Generate(required))
        assert (error.reason, error.param) == (Reason.UNSUPPORTED_PARAMETER, "chat.tool_choice")
        assert server.asked == []
        nothing = pb.SamplingOptions(n=1, top_k=0, min_p=0)
        assert (await worker.generate(ask(sampling=nothing))).text() == "Hello"


@pytest.mark.parametrize(
    ("status", "said", "headers", "reason", "words"),
    [
        (400, {"error": {"message": "top_p must be 1"}}, {}, Reason.INVALID_ARGUMENT, "top_p must be 1"),
        (422, {"detail": "no"}, {}, Reason.INVALID_ARGUMENT, "no"),
        (
            400,
            {"error": {"message": "This model's maximum context length is 9 tokens."}},
            {},
            Reason.CONTEXT_LENGTH_EXCEEDED,
            "maximum context length",
        ),
        (429, {}, {"Retry-After": "7"}, Reason.SERVER_OVERLOADED, "takes no more"),
        (503, {"error": "busy"}, {"Retry-After": "soon"}, Reason.SERVER_OVERLOADED, "busy"),
        (
            401,
            {"error": {"message": "bad key secret-key-1"}},
            {},
            Reason.NO_WORKER,
            "refuses the worker's key",
        ),
        (404, {"error": {"message": "no such model"}}, {}, Reason.NO_WORKER, "does not have the model"),
        (500, {"error": {"message": "x" * 5000}}, {}, Reason.SERVER_ERROR, "failed (500)"),
        (500, {}, {}, Reason.WORKER_LOST, "failed (500)"),
        (502, {}, {}, Reason.NO_WORKER, "cannot be reached"),
        (302, {}, {"Location": "http://elsewhere/"}, Reason.WORKER_LOST, "failed (302)"),
        (500, {"error": {"message": "secret-key-1 was bad"}}, {}, Reason.SERVER_ERROR, "[key] was bad"),
    ],
)
async def test_a_refusal_is_told_in_the_contracts_words(
    status: int,
    said: Any,
    headers: dict[str, str],
    reason: Reason,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything was told, bounded, and without the key, whatever the server repeats."""
    monkeypatch.setenv("THE_KEY", "secret-key-1")
    server = FakeServer(refusal=(status, said, headers), key="secret-key-1")
    async with fake_server(server), running_worker(spec(server, key_env="THE_KEY")) as worker:
        error = await refused(worker.stub.Generate(ask()))
        assert b"secret-key" not in (await card_of(worker)).SerializeToString()
    assert error.reason is reason
    assert words in error.message
    assert "secret-key" not in error.message
    assert len(error.message) < 700
    if reason is Reason.SERVER_OVERLOADED:
        assert error.retry_after == (7.0 if headers["Retry-After"] == "7" else 1.0)


async def test_leaving_ends_the_request_at_the_server() -> None:
    """At once, so that it computes no further."""
    server = FakeServer(script=until_left)
    async with fake_server(server), running_worker(spec(server)) as worker:
        call = worker.stub.Generate(ask())
        await call.read()
        await call.read()
        assert (await worker.status()).load.running == 1
        call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()
        await worker.until(running=0)


@undisturbed(0.15)
async def test_a_deadline_keeps_what_there_is() -> None:
    """And the server is left."""
    server = FakeServer(script=until_left)
    async with fake_server(server), running_worker(spec(server)) as worker:
        answer = await worker.generate(ask(), timeout=0.6)
        assert answer.text().startswith("more ")
        assert [each.reason for each in answer.all("finished")] == [pb.FINISH_REASON_DEADLINE]
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()


HOSTILE: list[bytes] = [
    b"data: {\n\n",
    b"data: []\n\n",
    b'data: {"choices": 1}\n\n',
    b'data: {"choices": [{"index": 1, "delta": {"content": "a"}}]}\n\n',
    b'data: {"choices": [{"index": -1, "delta": {"content": "a"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": 5}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "token_ids": [-1]}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "token_ids": [4294967296]}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 99999}]}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "abort"}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": []}]}\n\n',
    b'data: {"usage": {"prompt_tokens": -4}}\n\n',
    b"data: " + b"[" * 100_000 + b"\n\n",
    b"data: [DONE]\n\n",
    b"",
]


async def test_what_is_no_answer_ends_its_own_request() -> None:
    """The next one is answered: nothing that a server says ends the worker."""
    said = [b""]

    async def script(body: dict[str, Any], say: Say) -> None:
        await say(said[0])

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        for hostile in HOSTILE:
            said[0] = hostile
            error = await refused(worker.stub.Generate(ask()))
            assert (hostile, error.reason) == (hostile, Reason.WORKER_LOST)
        said[0] = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
        error = await refused(worker.stub.Generate(ask()))
        assert (error.reason, "out of memory" in error.message) == (Reason.SERVER_ERROR, True)
        said[0] = event(chunk("fine", finish="stop"))
        answer = await worker.generate(ask())
        assert answer.text() == "fine"
        assert answer.all("completed")[0].usage.completion_tokens == 1  # none was told: it is counted


async def test_an_endless_event_is_given_up() -> None:
    """Long before it fills the memory."""

    async def script(body: dict[str, Any], say: Say) -> None:
        while True:
            await say(b"a" * 2**20)

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        error = await refused(worker.stub.Generate(ask()))
        assert error.reason is Reason.WORKER_LOST
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()


async def test_a_connection_that_breaks_is_a_lost_worker() -> None:
    """After what has come."""
    server = FakeServer(script=lost_in_the_middle)
    async with fake_server(server), running_worker(spec(server)) as worker:
        call = worker.stub.Generate(ask())
        told = [(await call.read()).WhichOneof("event") for _ in range(2)]
        assert told == ["started", "delta"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_reader_who_stops_is_not_read_ahead_for() -> None:
    """What is held for him is bounded; the server waits."""
    sent = 0

    async def script(body: dict[str, Any], say: Say) -> None:
        nonlocal sent
        while True:
            await say(event(chunk("x" * 10_000)))
            sent += 10_000

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        call = worker.stub.Generate(ask())
        await call.read()
        before = -1
        async with asyncio.timeout(PATIENCE_S):
            while sent != before:
                before = sent
                await asyncio.sleep(0.3)
        assert 0 < sent < 16 * 2**20
        call.cancel()


async def test_a_server_that_goes_takes_its_model_out_and_brings_it_back() -> None:
    """While it is away the worker is starting; calls are told to come later, and the name stays known."""
    async with fake_server() as server:
        port = server.port
        async with running_worker(spec(server)) as worker:
            server.healthy = 503
            async with asyncio.timeout(PATIENCE_S):
                while (await worker.status()).worker.models:
                    pass  # each look gives way to everything else
            status = (await worker.status()).worker
            assert (status.state, list(status.loading)) == (1, ["m"])
            assert (await refused(worker.stub.Generate(ask()))).reason is Reason.NO_WORKER
            server.healthy, server.model["max_model_len"] = 200, 50
            async with asyncio.timeout(PATIENCE_S):
                while not (models := (await worker.status()).worker.models):
                    pass
            assert models[0].context_length == 50  # as it is now
            assert (await worker.generate(ask())).text() == "Hello"
        assert server.port == port


async def test_places_are_as_many_as_it_runs_and_load_is_what_it_says() -> None:
    """Of two, one of them is another's."""
    release = asyncio.Event()

    async def script(body: dict[str, Any], say: Say) -> None:
        await release.wait()
        await say(event(chunk("a", finish="stop")))

    server = FakeServer(kind="llama-server", model={"id": "m", "meta": {"n_vocab": 10}}, script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        card = await card_of(worker)
        assert (card.context_length, card.vocabulary_size, card.server) == (64, 10, "llama-server b1")
        assert card.sampling_defaults.top_k == 40
        calls = [asyncio.create_task(worker.generate(ask())) for _ in range(3)]
        await worker.until(running=2, waiting=1)
        release.set()
        assert [answer.text() for answer in await asyncio.gather(*calls)] == ["a"] * 3


async def test_a_vllm_server_without_a_parser_for_calls_is_a_model_without_tools() -> None:
    """It refuses them, which it is asked at load."""
    servers = [
        (FakeServer(), True),
        (FakeServer(takes_tools=False), False),
        (FakeServer(takes_tools=False, no_tools="a longer prompt"), True),  # it refused something else
    ]
    for fake, takes_tools in servers:
        async with fake_server(fake) as server, running_worker(spec(server)) as worker:
            assert ("tools" in (await card_of(worker)).supported_parameters) is takes_tools


async def test_a_server_that_comes_back_with_other_slots_is_sent_as_many() -> None:
    """Not as many as it had when it was loaded."""
    server = FakeServer(kind="llama-server", model={"id": "m", "meta": {}})
    async with fake_server(server), running_worker(spec(server)) as worker:
        assert (await worker.status()).models[0].slots == 2
        server.healthy, server.slots = 503, 5
        async with asyncio.timeout(PATIENCE_S):
            while (await worker.status()).worker.models:
                pass
            server.healthy = 200
            while not (await worker.status()).worker.models:
                pass
        assert (await worker.status()).models[0].slots == 5


@pytest.mark.parametrize("kind", ["openai", "vllm"])
async def test_who_waits_is_told_so_whether_for_a_place_or_for_the_server(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways take silence for a stall; a server says nothing before its response begins."""
    monkeypatch.setattr(shared, "BEAT_S", 0.01)
    server = FakeServer(kind=kind)
    loaded, inside, answering = asyncio.Event(), asyncio.Event(), server._answer

    async def held(request: web.Request) -> web.StreamResponse:
        if loaded.is_set():
            await inside.wait()
        return await answering(request)

    monkeypatch.setattr(server, "_answer", held)
    async with fake_server(server), running_worker(spec(server, slots="1", kind=kind)) as worker:
        loaded.set()
        calls = [worker.stub.Generate(ask()) for _ in range(2)]
        phases = set()
        for call in calls:
            async with asyncio.timeout(PATIENCE_S):
                assert (await call.read()).WhichOneof("event") == "started"
                for _ in range(3):
                    phases.add((await call.read()).heartbeat.phase)
        assert phases == {pb.HEARTBEAT_PHASE_PREFILL, pb.HEARTBEAT_PHASE_QUEUED}
        inside.set()
        for call in calls:
            rest = []
            while (each := await call.read()) is not grpc.aio.EOF:
                rest.append(each)
            assert rest[-1].WhichOneof("event") == "completed"
            assert "started" not in [each.WhichOneof("event") for each in rest]


async def test_texts_are_completed_with_ids_and_repeated_by_the_worker() -> None:
    """llama-server tells the ids of completions in what it has for debugging."""

    async def script(body: dict[str, Any], say: Say) -> None:
        told = {"choices": [{"index": 0, "text": "b", "finish_reason": None}], "__verbose": {"tokens": [7]}}
        last = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
        await say(event(told) + event({**last, "__verbose": {"stopping_word": "x"}}) + DONE)

    server = FakeServer(kind="llama-server", model={"id": "m", "meta": {}}, script=script)
    request = text_request("a?", model="m", output=pb.OutputOptions(echo=True), **limited(5, stop=["x"]))
    async with fake_server(server), running_worker(spec(server)) as worker:
        answer = await worker.generate(request)
    assert (answer.text(), answer.tokens()) == ("a?b", [7])
    assert answer.all("finished")[0].stop_string == "x"
    assert server.asked[-1]["prompt"] == "a?"


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


async def test_a_caller_loads_a_server_and_names_no_key() -> None:
    """A file of the worker's machine could be sent to anybody otherwise."""
    async with fake_server() as server, running_worker(spec(server), server_hosts="127.0.0.1") as worker:
        load = worker.control.LoadModel
        for key in ("key_file=/etc/hostname", "key_env=HOME", "model=m&ke\ty_env=HOME"):
            asked = worker_pb2.LoadModelRequest(model="other", spec=f"sidecar:{server.url}?{key}")
            error = await refused(load(asked))
            assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "spec")
        loaded = await load(worker_pb2.LoadModelRequest(model="other", spec=server.url))
        assert (loaded.model.id, loaded.model.engine) == ("other", "sidecar")


async def test_a_caller_loads_no_server_that_the_worker_does_not_name() -> None:
    """By default none: the worker would ask whatever it reaches for him, and repeat what that says."""
    async with fake_server() as server, running_worker("echo=echo") as worker:
        for url in (server.url, f"sidecar:{server.url}"):
            load = worker_pb2.LoadModelRequest(model="other", spec=url)
            error = await refused(worker.control.LoadModel(load))
            assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "spec")
            assert "server_hosts" in error.message
        assert server.seen == []


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


async def test_a_server_that_cannot_be_served_ends_the_worker() -> None:
    """It says why; trying again would not help."""
    async with fake_server(FakeServer(key="k-12345")) as server:
        for query, words in (
            ({}, "refuses the key"),
            ({"model": "other"}, "refuses the key"),
            ({"key_env": "NO_SUCH"}, "no variable NO_SUCH"),
        ):
            with pytest.raises(SourceError, match=words):
                async with running_worker(spec(server, **query)):
                    pass


async def until_models(worker: RunningWorker, names: list[str]) -> None:
    """Return when just these can be asked for."""

    async def listed() -> list[str]:
        return [card.id for card in (await worker.status()).worker.models]

    await until_async(listed, f"the models {names}", lambda seen: seen == names)


async def looked(server: FakeServer) -> None:
    """Return when the look is over that follows the start; the next comes with the beat."""
    await until_async(lambda: server.seen, "the first look", lambda seen: "/metrics" in seen)


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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"type": "invalid_request_error", "code": None}, Reason.INVALID_ARGUMENT),
        ({"type": "BadRequestError", "code": "400"}, Reason.INVALID_ARGUMENT),
        ({"type": "?", "code": "context_length_exceeded"}, Reason.CONTEXT_LENGTH_EXCEEDED),
        ({"type": "rate_limit_error"}, Reason.SERVER_OVERLOADED),
        ({"type": "server_error", "code": None}, Reason.SERVER_ERROR),
        ({"type": ["?"], "code": True}, Reason.SERVER_ERROR),
    ],
)
async def test_an_error_in_a_stream_without_a_number_goes_by_its_type(
    error: dict[str, Any], reason: Reason
) -> None:
    """A server that is well has told what it is: no other worker needs to try, and the model stays."""

    async def script(body: dict[str, Any], say: Say) -> None:
        await say(event({"error": {"message": "No such luck.", **error}}))

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        told = await refused(worker.stub.Generate(ask()))
        assert (told.reason, "No such luck." in told.message) == (reason, True)
        await until_models(worker, ["m"])


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
