"""Bad input, through REST and gRPC: the table's answer, and the next request is answered."""

from typing import Any

import grpc
import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid
from inferloom_mesh.status import from_rpc_error
from tests.wire.fake_worker import FakeWorker, refuse, say_hello
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
TEXT = {"model": "chat-model", "prompt": "Hi"}
EMBED = {"model": "org/embedder", "input": "Hi"}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here: they leave nothing behind in it."""
    return shared_mesh


async def refused(mesh: GatewayMesh, path: str, content: bytes, headers: dict[str, str] = JSON) -> Any:
    """Post what must be refused; return the status and the error object, whose form is checked."""
    response = await mesh.http.post(path, content=content, headers=headers)
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    await still_answers(mesh)
    return response.status_code, body["error"]


async def still_answers(mesh: GatewayMesh) -> None:
    """The same process answers the next request."""
    assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 200


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The body is empty."),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"temperature": NaN}', "no NaN"),
        (b'{"temperature": Infinity}', "no infinities"),
        (b'{"temperature": -Infinity}', "no infinities"),
        (b'{"temperature": 1e999}', "infinity"),
        (b'{"model": "\xff"}', "UTF-8"),
        (b'{"model": "\\ud800"}', "surrogate"),
        (b'{"model": "\xed\xa0\x80"}', "UTF-8"),
        (b"[" * 100_000, "depth"),
        (b'{"a":' * 100_000, "depth"),
    ],
)
async def test_a_body_that_is_no_json_is_400(mesh: GatewayMesh, content: bytes, said: str) -> None:
    """What cannot be parsed is refused with a message that says why."""
    status, error = await refused(mesh, "/v1/chat/completions", content)
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]


@pytest.mark.parametrize(
    ("path", "base", "change", "param"),
    [
        ("chat/completions", CHAT, {"messages": []}, "messages"),
        ("chat/completions", CHAT, {"messages": None}, "messages"),
        ("chat/completions", CHAT, {"messages": "Hi"}, "messages"),
        ("chat/completions", CHAT, {"messages": [{"role": "boss", "content": "a"}]}, "messages[0].role"),
        ("chat/completions", CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("chat/completions", CHAT, {"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ("chat/completions", CHAT, {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
         "messages[0].content[0].text"),
        ("chat/completions", CHAT, {"messages": [{"role": "user", "content": [{"type": "x"}]}]},
         "messages[0].content[0].type"),
        ("chat/completions", CHAT, {"messages": [{"role": "tool", "content": "a"}]},
         "messages[0].tool_call_id"),
        ("chat/completions", CHAT, {"model": None}, "model"),
        ("chat/completions", CHAT, {"model": ""}, "model"),
        ("chat/completions", CHAT, {"model": 7}, "model"),
        ("chat/completions", CHAT, {"temperature": "hot"}, "temperature"),
        ("chat/completions", CHAT, {"temperature": 2.5}, "temperature"),
        ("chat/completions", CHAT, {"temperature": -1}, "temperature"),
        ("chat/completions", CHAT, {"temperature": True}, "temperature"),
        ("chat/completions", CHAT, {"top_p": -0.1}, "top_p"),
        ("chat/completions", CHAT, {"top_p": 1.5}, "top_p"),
        ("chat/completions", CHAT, {"min_p": -0.1}, "min_p"),
        ("chat/completions", CHAT, {"top_k": 1.5}, "top_k"),
        ("chat/completions", CHAT, {"n": 0}, "n"),
        ("chat/completions", CHAT, {"n": 10**6}, "n"),
        ("chat/completions", CHAT, {"n": 10**30}, "n"),
        ("chat/completions", CHAT, {"max_tokens": 0}, "max_tokens"),
        ("chat/completions", CHAT, {"max_tokens": -5}, "max_tokens"),
        ("chat/completions", CHAT, {"max_tokens": 2**32}, "max_tokens"),
        ("chat/completions", CHAT, {"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ("chat/completions", CHAT, {"seed": 10**30}, "seed"),
        ("chat/completions", CHAT, {"presence_penalty": 3}, "presence_penalty"),
        ("chat/completions", CHAT, {"repetition_penalty": 0}, "repetition_penalty"),
        ("chat/completions", CHAT, {"stop": ""}, "stop[0]"),
        ("chat/completions", CHAT, {"stop": ["a", ""]}, "stop[1]"),
        ("chat/completions", CHAT, {"stop": ["a"] * 17}, "stop"),
        ("chat/completions", CHAT, {"logit_bias": {"dog": 1}}, "logit_bias"),
        ("chat/completions", CHAT, {"logit_bias": {"-1": 1}}, "logit_bias"),
        ("chat/completions", CHAT, {"logit_bias": {"1": 101}}, "logit_bias.1"),
        ("chat/completions", CHAT, {"top_logprobs": 3}, "top_logprobs"),
        ("chat/completions", CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ("chat/completions", CHAT, {"stream": "yes"}, "stream"),
        ("chat/completions", CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
        ("chat/completions", CHAT, {"tool_choice": "maybe"}, "tool_choice.type"),
        ("chat/completions", CHAT, {"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ("chat/completions", CHAT, {"tool_choice": {"type": "custom"}}, "tool_choice.custom"),
        ("chat/completions", CHAT, {"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ("chat/completions", CHAT,
         {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
         "tool_choice.allowed_tools.tools"),
        ("chat/completions", CHAT, {"tools": [{"type": "function"}]}, "tools[0].function"),
        ("chat/completions", CHAT, {"tools": [{"type": "custom"}]}, "tools[0].custom"),
        ("chat/completions", CHAT, {"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("chat/completions", CHAT, {"tools": [{"type": "function", "function": {"name": "a b"}}]},
         "tools[0].function.name"),
        ("chat/completions", CHAT, {"function_call": "maybe"}, "function_call"),
        ("chat/completions", CHAT, {"function_call": {}}, "function_call.name"),
        ("chat/completions", CHAT,
         {"functions": [{"name": "f"}], "tools": [{"type": "function", "function": {"name": "f"}}]},
         "functions"),
        ("chat/completions", CHAT, {"response_format": {"type": "json_schema"}},
         "response_format.json_schema"),
        ("chat/completions", CHAT, {"guided_regex": "a", "guided_json": {}}, "guided_regex"),
        ("completions", TEXT, {"response_format": {"type": "json_object"}, "regex": "a"}, "regex"),
        ("completions", TEXT, {"structured_outputs": {"regex": "a", "choice": ["a"]}},
         "structured_outputs.choice"),
        ("completions", TEXT, {"guided_choice": []}, "guided_choice"),
        ("completions", TEXT, {"max_tokens": -1}, "max_tokens"),
        ("completions", TEXT, {"prompt": []}, "prompt"),
        ("completions", TEXT, {"prompt": {"a": 1}}, "prompt"),
        ("completions", TEXT, {"prompt": ["a", 1]}, "prompt"),
        ("completions", TEXT, {"prompt": [1, "a"]}, "prompt"),
        ("completions", TEXT, {"prompt": [[1], []]}, "prompt"),
        ("completions", TEXT, {"prompt": [-1]}, "prompt"),
        ("completions", TEXT, {"prompt": [2**32]}, "prompt"),
        ("completions", TEXT, {"prompt": [True]}, "prompt"),
        ("completions", TEXT, {"prompt": ["a"] * 129}, "prompt"),
        ("completions", TEXT, {"prompt": ["a"] * 65, "n": 2}, "n"),
        ("embeddings", EMBED, {"input": None}, "input"),
        ("embeddings", EMBED, {"input": []}, "input"),
        ("embeddings", EMBED, {"input": [1.5]}, "input"),
        ("embeddings", EMBED, {"input": ["a"] * 2049}, "input"),
        ("embeddings", EMBED, {"dimensions": 0}, "dimensions"),
        ("embeddings", EMBED, {"encoding_format": "hex"}, "encoding_format"),
    ],
)  # fmt: skip
async def test_a_wrong_value_is_400_and_named(
    mesh: GatewayMesh, path: str, base: dict[str, Any], change: dict[str, Any], param: str
) -> None:
    """A wrong type or a number out of range is refused with the parameter's REST name."""
    status, error = await refused(mesh, f"/v1/{path}", orjson.dumps(_huge({**base, **change})))
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)


def _huge(body: dict[str, Any]) -> Any:
    """orjson writes no integers over 64 bits: give them as a fragment of JSON."""
    return {
        key: orjson.Fragment(str(value)) if isinstance(value, int) and abs(value) >= 2**63 else value
        for key, value in body.items()
    }


@pytest.mark.parametrize(
    ("path", "base", "change", "param"),
    [
        ("chat/completions", CHAT, {"audio": {"voice": "a"}}, "audio"),
        ("chat/completions", CHAT, {"modalities": ["text", "audio"]}, "modalities"),
        ("chat/completions", CHAT, {"web_search_options": {}}, "web_search_options"),
        ("chat/completions", CHAT, {"structured_outputs": {"structural_tag": "{}"}},
         "structured_outputs.structural_tag"),
        ("chat/completions", CHAT,
         {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages[0].content[0]"),
        ("completions", TEXT, {"best_of": 3, "stream": True}, "best_of"),
    ],
)  # fmt: skip
async def test_a_known_parameter_that_is_not_supported_is_refused(
    mesh: GatewayMesh, path: str, base: dict[str, Any], change: dict[str, Any], param: str
) -> None:
    """What we know and cannot do is unsupported_parameter, never ignored."""
    status, error = await refused(mesh, f"/v1/{path}", orjson.dumps({**base, **change}))
    assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", param)


async def test_values_that_ask_for_nothing_are_accepted(mesh: GatewayMesh) -> None:
    """Null and default values of unsupported parameters, and hints, change nothing."""
    nothing = {
        "audio": None, "modalities": ["text"], "store": False, "functions": None, "function_call": "none",
        "best_of": 1, "suffix": "", "user": "u", "metadata": {"a": "b"}, "service_tier": "auto",
        "response_format": {"type": "text"}, "tools": None, "tool_choice": None, "stream_options": None,
        "temperature": None, "logit_bias": None, "stop": None,
    }  # fmt: skip
    response = await mesh.http.post("/v1/chat/completions", json={**CHAT, **nothing})
    assert response.status_code == 200
    assert "x-inferloom-ignored" not in response.headers


async def test_parameters_that_nobody_knows_are_named_in_a_header(mesh: GatewayMesh) -> None:
    """An unknown parameter is ignored and named, in a header that any name is safe in."""
    body = {**CHAT, "wibble": 1, "ö\r\nx-evil: 1": 2}
    for stream in (False, True):
        response = await mesh.http.post("/v1/chat/completions", json={**body, "stream": stream})
        assert response.status_code == 200
        assert response.headers["x-inferloom-ignored"] == "wibble, %C3%B6%0D%0Ax-evil%3A%201"
        assert "x-evil" not in response.headers


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_413(declared: bool) -> None:
    """A body over the limit is refused, whether its length was declared or it comes in chunks."""
    async with gateway_mesh(FakeWorker(), max_body_bytes=64 * 1024) as mesh:

        async def chunks() -> Any:
            for _ in range(64):
                yield b" " * 4096

        content = b" " * 64 * 4096 if declared else chunks()
        status, error = await refused(mesh, "/v1/chat/completions", content)
    assert (status, error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_another_media_type_is_415(mesh: GatewayMesh, media: str) -> None:
    """A body that is not JSON by its own word is refused."""
    status, error = await refused(mesh, "/v1/chat/completions", orjson.dumps(CHAT), {"content-type": media})
    assert (status, error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "APPLICATION/JSON", None])
async def test_json_media_types_are_read(mesh: GatewayMesh, media: str | None) -> None:
    """JSON with a charset, in capitals, or of no declared type is read."""
    headers = {} if media is None else {"content-type": media}
    response = await mesh.http.post("/v1/chat/completions", content=orjson.dumps(CHAT), headers=headers)
    assert response.status_code == 200


async def test_null_bytes_are_text(mesh: GatewayMesh) -> None:
    """A null byte in a message is passed on like any character, and back."""
    body = {**CHAT, "messages": [{"role": "user", "content": "a\0b"}]}
    assert (await mesh.http.post("/v1/chat/completions", json=body)).status_code == 200
    assert mesh.worker.requests[0].chat.messages[0].parts[0].text == "a\0b"


async def test_deep_template_variables_are_refused(mesh: GatewayMesh) -> None:
    """Nesting that the contract's messages could not carry is refused, not a server error."""
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    for change, param in (
        ({"chat_template_kwargs": deep}, "chat_template_kwargs"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": deep}}]},
         "tools[0].function.parameters"),
    ):  # fmt: skip
        status, error = await refused(mesh, "/v1/chat/completions", orjson.dumps({**CHAT, **change}))
        assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("path", "body"),
    [("chat/completions", CHAT), ("completions", TEXT), ("embeddings", EMBED)],
)
async def test_an_unknown_model_is_404(mesh: GatewayMesh, path: str, body: dict[str, Any]) -> None:
    """A model that nobody serves does not exist."""
    status, error = await refused(mesh, f"/v1/{path}", orjson.dumps({**body, "model": "no/such"}))
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("embeddings", {**EMBED, "model": "chat-model"}),
        ("chat/completions", {**CHAT, "model": "org/embedder"}),
    ],
)
async def test_a_task_that_a_model_does_not_serve_is_refused(
    mesh: GatewayMesh, path: str, body: dict[str, Any]
) -> None:
    """A chat model gives no embeddings, nor an embedding model chats."""
    status, error = await refused(mesh, f"/v1/{path}", orjson.dumps(body))
    assert (status, error["code"], error["param"]) == (400, "unsupported_task", "model")


async def test_unknown_paths_and_methods_have_error_objects(mesh: GatewayMesh) -> None:
    """404 and 405 are OpenAI error objects, and 405 says what is allowed."""
    missing = await mesh.http.get("/v1/nothing")
    wrong = await mesh.http.get("/v1/completions")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("request_", "reason", "param"),
    [
        (pb.GenerateRequest(text="a"), Reason.INVALID_ARGUMENT, "model"),
        (pb.GenerateRequest(model="no/such", text="a"), Reason.MODEL_NOT_FOUND, "model"),
        (pb.GenerateRequest(model="org/embedder", text="a"), Reason.UNSUPPORTED_TASK, "model"),
    ],
)
async def test_the_grpc_facade_refuses_what_it_cannot_route(
    mesh: GatewayMesh, request_: pb.GenerateRequest, reason: Reason, param: str
) -> None:
    """A model that is missing, unknown or of another kind is refused with the table's status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Generate(request_).read()
    error = from_rpc_error(caught.value)
    assert (error.reason, error.param) == (reason, param)
    assert caught.value.code() == error.row.grpc
    await still_answers(mesh)


@pytest.mark.parametrize(
    "error",
    [
        invalid("sampling.temperature", "sampling.temperature must be a number from 0 to 2."),
        InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, "600 tokens are over 512.", param="chat"),
        InferloomError(Reason.UNSUPPORTED_PARAMETER, "tools are not supported.", param="chat.tools"),
        InferloomError(Reason.RATE_LIMIT_EXCEEDED, "Slow down.", retry_after=2.5),
        InferloomError(Reason.SERVER_ERROR, "The server had an internal error."),
    ],
)
async def test_the_grpc_facade_passes_a_workers_refusal_on(mesh: GatewayMesh, error: InferloomError) -> None:
    """A worker's status arrives with its reason, field and delay as it was raised."""
    mesh.worker.script = refuse(error)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a")).read()
    passed = from_rpc_error(caught.value)
    assert (passed.reason, passed.message, passed.param, passed.retry_after) == (
        error.reason,
        error.message,
        error.param,
        error.retry_after,
    )
    mesh.worker.script = say_hello
    await still_answers(mesh)


async def test_the_grpc_facade_refuses_what_is_no_message(mesh: GatewayMesh) -> None:
    """Bytes that do not decode, lone surrogates among them, are INVALID_ARGUMENT."""
    call = mesh.channel.unary_stream(
        "/inferloom.v1.InferenceService/Generate", request_serializer=bytes, response_deserializer=bytes
    )
    for raw in (b"\xff\xff", b"\x22\x03\xed\xa0\x80"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(raw).read()
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    await still_answers(mesh)


async def test_rate_limits_say_when_to_come_back(mesh: GatewayMesh) -> None:
    """Retry-After is the delay in whole seconds, rounded up."""
    mesh.worker.script = refuse(InferloomError(Reason.RATE_LIMIT_EXCEEDED, "Slow down.", retry_after=2.5))
    response = await mesh.http.post("/v1/chat/completions", json=CHAT)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
