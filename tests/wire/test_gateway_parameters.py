"""Parameters through REST: what reaches a worker, what is named, and what is said of models."""

import asyncio
from typing import Any

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.named_fields import named
from inferloom_mesh.status import from_rpc_error
from tests.wire.fake_worker import FakeWorker, refuse
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = {"role": "user", "content": "Hi"}
CHAT = {"model": "chat-model", "messages": [USER]}
TEXT = {"model": "chat-model", "prompt": "Hi"}
EMBED = {"model": "org/embedder", "input": "Hi"}
IGNORED = "x-inferloom-ignored"


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here: they leave nothing behind in it."""
    return shared_mesh


async def asked(mesh: GatewayMesh, path: str, body: dict[str, Any]) -> Any:
    """Post what must be answered; return what the worker was asked for."""
    response = await mesh.http.post(f"/v1/{path}", json=body)
    assert response.status_code == 200, response.text
    return mesh.worker.requests[-1]


async def refused(mesh: GatewayMesh, path: str, body: dict[str, Any]) -> Any:
    """Post what must be refused; return the error object."""
    response = await mesh.http.post(f"/v1/{path}", json=body)
    assert response.status_code in (400, 404), response.text
    assert len(response.content) < 1024
    return response.json()["error"]


async def test_a_word_that_holds_a_fields_name_stays_whole(mesh: GatewayMesh) -> None:
    """The contract's ``text`` is REST's ``prompt``, and no part of "context", nor any text that is named."""
    said = f"The text model's context length is 8192 tokens, and {named('text')} has 9001."
    mesh.worker.script = refuse(InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, said, param="text"))
    error = await refused(mesh, "completions", {**TEXT, "prompt": ["a"]})
    assert (error["param"], error["message"]) == (
        "prompt",
        "The text model's context length is 8192 tokens, and prompt has 9001.",
    )


async def test_a_top_p_of_0_takes_the_likeliest_token(mesh: GatewayMesh) -> None:
    """OpenAI's range begins there."""
    for path, body in (("chat/completions", CHAT), ("completions", TEXT)):
        request = await asked(mesh, path, {**body, "top_p": 0})
        assert request.sampling.top_k == 1
        assert not request.sampling.HasField("top_p")


async def test_no_address_in_a_request_is_ever_asked(mesh: GatewayMesh) -> None:
    """A picture's address is refused, and nobody connects to it."""
    came: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(lambda _, writer: came.append(writer), "127.0.0.1", 0)
    async with listener:
        url = "http://{}:{}/a.png".format(*listener.sockets[0].getsockname())
        for part in (
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
            {"type": "file", "file": {"file_data": url}},
        ):
            body = {**CHAT, "messages": [{"role": "user", "content": [part]}]}
            error = await refused(mesh, "chat/completions", body)
            assert (error["code"], error["param"]) == ("unsupported_parameter", "messages[0].content[0]")
    assert not came


@pytest.mark.parametrize("prompt", [{}, {"prompt": None}, {"prompt": ""}, {"prompt": [""]}])
async def test_an_empty_prompt_is_passed_on(mesh: GatewayMesh, prompt: dict[str, Any]) -> None:
    """The worker knows whether its model has a token that begins a document."""
    request = await asked(mesh, "completions", {"model": "chat-model", **prompt})
    assert request.WhichOneof("input") == "text"
    assert request.text == ""


async def test_no_tokens_may_be_asked_for_with_echo(mesh: GatewayMesh) -> None:
    """Of text completions; a chat has nothing to say then."""
    request = await asked(mesh, "completions", {**TEXT, "max_tokens": 0, "echo": True})
    assert request.stopping.HasField("max_tokens")
    assert (request.stopping.max_tokens, request.output.echo) == (0, True)
    assert (await refused(mesh, "chat/completions", {**CHAT, "max_tokens": 0}))["param"] == "max_tokens"


@pytest.mark.parametrize(
    ("said", "truncate", "normalize"),
    [
        ({"truncate": True}, True, None),
        ({"truncate_prompt_tokens": -1}, True, None),
        ({"normalize": False}, None, False),
        ({}, None, None),
    ],
)
async def test_embeddings_are_cut_and_scaled_as_asked(
    mesh: GatewayMesh, said: dict[str, Any], truncate: bool | None, normalize: bool | None
) -> None:
    """What is not said is left to the model."""
    request = await asked(mesh, "embeddings", {**EMBED, **said})
    assert (request.truncate if request.HasField("truncate") else None) is truncate
    assert (request.normalize if request.HasField("normalize") else None) is normalize


async def test_vllms_other_lengths_are_refused(mesh: GatewayMesh) -> None:
    """A number of tokens to keep is not what the contract has."""
    error = await refused(mesh, "embeddings", {**EMBED, "truncate_prompt_tokens": 5})
    assert error["param"] == "truncate_prompt_tokens"


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("chat/completions", {**CHAT, "temprature": 1}, "temprature (did you mean temperature?)"),
        (
            "chat/completions",
            {
                **CHAT,
                "stream": True,
                "stream_options": {"include_usage": True, "chunk_size": 1},
            },
            "stream_options.chunk_size",
        ),
        (
            "chat/completions",
            {**CHAT, "messages": [USER, {**USER, "nonsense": 1, "name": "n"}]},
            "messages[1].nonsense",
        ),
        ("completions", {**TEXT, "stop_sequence": ["a"]}, "stop_sequence"),
        ("embeddings", {**EMBED, "dimension": 4}, "dimension (did you mean dimensions?)"),
    ],
)
async def test_what_nobody_knows_is_named_with_its_place(
    mesh: GatewayMesh, path: str, body: dict[str, Any], named: str
) -> None:
    """Ignored, and named; a near name is suggested."""
    response = await mesh.http.post(f"/v1/{path}", json=body)
    assert (response.status_code, response.headers[IGNORED]) == (200, named)


async def test_a_strict_gateway_refuses_what_nobody_knows() -> None:
    """All of it in one answer; what is known is answered."""
    async with gateway_mesh(FakeWorker(), strict=True) as mesh:
        body = {**CHAT, "temprature": 1, "messages": [{**USER, "wibble": 1}]}
        error = await refused(mesh, "chat/completions", body)
        assert error["code"] == "unknown_parameter"
        assert "'temprature' (did you mean 'temperature'?)" in error["message"]
        assert "'messages[0].wibble'" in error["message"]
        assert (await mesh.http.post("/v1/chat/completions", json={**CHAT, "user": "u"})).status_code == 200


async def test_models_list_what_rest_takes_in_its_words() -> None:
    """REST's names of what the card lists, for the tasks that the model has."""
    generating = ["temperature", "include_stop", "variables", "max_tokens", "logprobs", "truncate"]
    generating += ["verbosity"]  # which its chat template reads, and no effort
    chat = pb.Model(
        id="chat-model",
        tasks=[pb.TASK_CHAT, pb.TASK_COMPLETION],
        supported_parameters=generating,
    )
    embedder = pb.Model(
        id="org/embedder",
        tasks=[pb.TASK_EMBED],
        supported_parameters=["normalize", "truncate", "dimensions", "temperature"],
    )
    async with gateway_mesh(FakeWorker(models=(chat, embedder))) as mesh:
        listed = {item["id"]: item for item in (await mesh.http.get("/v1/models")).json()["data"]}
    assert set(listed["chat-model"]["supported_parameters"]) == {
        "temperature",
        "include_stop_str_in_output",
        "chat_template_kwargs",
        "verbosity",
        "max_tokens",
        "max_completion_tokens",
        "logprobs",
    }
    assert set(listed["org/embedder"]["supported_parameters"]) == {
        "normalize",
        "truncate",
        "truncate_prompt_tokens",
        "dimensions",
    }


async def test_models_show_their_own_sampling_values() -> None:
    """As short numbers, not as what float32 makes of them; none where the model says nothing."""
    own = pb.SamplingOptions(temperature=0.6, top_k=20)
    card = pb.Model(id="own", tasks=[pb.TASK_CHAT], sampling_defaults=own)
    async with gateway_mesh(FakeWorker(models=(card, pb.Model(id="usual", tasks=[pb.TASK_CHAT])))) as mesh:
        listed = {item["id"]: item for item in (await mesh.http.get("/v1/models")).json()["data"]}
    assert listed["own"]["sampling_defaults"] == {"temperature": 0.6, "top_k": 20}
    assert listed["usual"]["sampling_defaults"] == {}


LONG = "7" * 3_000_000


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": LONG}]}]}),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "7' " * 1_000_000}]}]}),
        ("chat/completions", {"logit_bias": {LONG: "x"}}),
        ("chat/completions", {"logit_bias": {LONG: 1}}),
        ("chat/completions", {"model": LONG}),
        ("chat/completions", {"response_format": {"type": LONG}}),
        ("chat/completions", {"tools": [{"type": "function", "function": {"name": LONG}}]}),
        ("chat/completions", {"chat_template_kwargs": {LONG: 1}, LONG: 1}),
    ],
)
async def test_an_error_repeats_little_of_what_was_sent(
    mesh: GatewayMesh, path: str, change: dict[str, Any]
) -> None:
    """Megabytes come in, and at most 200 characters of them go out."""
    response = await mesh.http.post(f"/v1/{path}", json={"model": "chat-model", "messages": [USER], **change})
    assert len(response.content) < 1024
    assert response.text.count("7") <= 200
    assert sum(len(value) for value in response.headers.values()) < 2048


async def test_a_wrong_models_name_gets_a_suggestion(mesh: GatewayMesh) -> None:
    """At both doors; REST's says where to look besides."""
    error = await refused(mesh, "chat/completions", {**CHAT, "model": "chat"})
    assert error["message"] == (
        "The model 'chat' does not exist. Did you mean 'chat-model'? GET /v1/models lists all."
    )
    missing = await mesh.http.get("/v1/models/embedder")
    assert missing.status_code == 404
    assert "GET /v1/models lists all." in missing.json()["error"]["message"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Generate(pb.GenerateRequest(model="chat-modl", text="a")).read()
    assert from_rpc_error(caught.value).message == (
        "The model 'chat-modl' does not exist. Did you mean 'chat-model'?"
    )


@pytest.mark.parametrize("text", ["x" * 3_000_000, "' " * 1_500_000, "🌍" * 1_000_000])
async def test_a_status_stays_small_enough_for_its_metadata(mesh: GatewayMesh, text: str) -> None:
    """A long name arrives as the refusal that it is, and is not lost in the transport."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Generate(pb.GenerateRequest(model=text, text="a")).read()
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.MODEL_NOT_FOUND
    assert len(error.message) < 250


async def test_a_workers_long_message_is_cut_too(mesh: GatewayMesh) -> None:
    """Whatever it repeats: in its status, and in REST's body."""
    long = InferloomError(Reason.INVALID_ARGUMENT, f"Not '{'x' * 9000}'.", param="sampling." + "y" * 9000)
    mesh.worker.script = refuse(long)
    error = await refused(mesh, "chat/completions", CHAT)
    assert error["message"].count("x") + error["param"].count("y") <= 200
