"""What callers are told of a body that is wrong, sentence by sentence."""

from typing import Any

import pytest

from tests.wire.gateway_mesh import GatewayMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "no spaces"}}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": 7}, "Invalid 'model': must be a string."),
        ({"model": None}, "Invalid 'model': must be a string, not null."),
        ({"model": ""}, "Invalid 'model': must have at least 1 character."),
        ({"n": 1.5}, "Invalid 'n': must be an integer."),
        ({"n": "2"}, "Invalid 'n': must be an integer."),
        ({"n": 0}, "Invalid 'n': must be at least 1."),
        ({"n": 10**30}, "Invalid 'n': is too large."),
        ({"seed": 2**64}, "Invalid 'seed': is too large."),
        ({"seed": -(2**64)}, "Invalid 'seed': is too small."),
        ({"top_k": -1e300}, "Invalid 'top_k': is too small."),
        ({"n": -(10**30)}, "Invalid 'n': is too small."),
        ({"prediction": {"type": "text", "content": ""}}, "Invalid 'prediction.type': must be 'content'."),
        ({"n": 129}, "Invalid 'n': must be at most 128."),
        ({"temperature": "hot"}, "Invalid 'temperature': must be a number."),
        ({"temperature": 2.5}, "Invalid 'temperature': must be at most 2."),
        ({"repetition_penalty": 0}, "Invalid 'repetition_penalty': must be at least 0.01."),
        ({"stream": "yes"}, "Invalid 'stream': must be true or false."),
        ({"stop": 3}, "Invalid 'stop': must be a string or an array of strings."),
        ({"stop": [""]}, "Invalid 'stop[0]': must have at least 1 character."),
        ({"stop": ["a"] * 17}, "Invalid 'stop': must have at most 16 entries."),
        ({"logit_bias": []}, "Invalid 'logit_bias': must be an object."),
        ({"stream_options": 1}, "Invalid 'stream_options': must be an object."),
        ({"tools": {}}, "Invalid 'tools': must be an array."),
        ({"tool_choice": 1}, "Invalid 'tool_choice': must be a string or an object."),
        ({"tools": [TOOL]}, "Invalid 'tools[0].function.name': must match ^[A-Za-z0-9_-]{1,128}$."),
        ({"messages": []}, "Invalid 'messages': must have at least 1 entry."),
        ({"messages": "Hi"}, "Invalid 'messages': must be an array."),
        ({"messages": [3]}, "Invalid 'messages[0]': must be an object."),
    ],
)
async def test_a_wrong_value_is_told_in_plain_words(
    mesh: GatewayMesh, change: dict[str, Any], sentence: str
) -> None:
    """The field, and what it must be."""
    answer = await mesh.http.post("/v1/chat/completions", json={**CHAT, **change})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, sentence)


async def test_the_values_that_may_stand_somewhere_are_all_told(mesh: GatewayMesh) -> None:
    """However many they are: they are no quotation that is too long."""
    asked = {"input_file_id": "file-a", "endpoint": "/v1/images", "completion_window": "24h"}
    answer = await mesh.http.post("/v1/batches", json=asked)
    for path in ("chat/completions", "completions", "embeddings", "responses", "rerank"):
        assert f"'/v1/{path}'" in answer.json()["error"]["message"]


async def test_a_conversation_is_no_prompt_of_a_text(mesh: GatewayMesh) -> None:
    """The text would be of nothing."""
    answer = await mesh.http.post("/v1/completions", json=CHAT)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")


async def test_what_is_missing_may_be_there_by_another_name(mesh: GatewayMesh) -> None:
    """A slip of the keyboard is named."""
    answer = await mesh.http.post("/v1/chat/completions", json={"model": "chat-model", "mesages": []})
    assert answer.json()["error"] == {
        "message": "Missing required parameter: 'messages'. Is 'mesages' meant to be it?",
        "type": "invalid_request_error",
        "param": "messages",
        "code": None,
    }


@pytest.mark.parametrize(("field", "path"), [("input", "/v1/responses"), ("prompt", "/v1/completions")])
async def test_a_body_of_another_endpoint_is_sent_there(mesh: GatewayMesh, field: str, path: str) -> None:
    """Editors send to chats what responses take."""
    answer = await mesh.http.post("/v1/chat/completions", json={"model": "chat-model", field: "Hi"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "messages")
    assert error["message"].endswith(f"A body with '{field}' is for POST {path}.")


CONTENT = "Invalid 'messages[0].content': must be a string or an array of content parts"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"role": "user"}, "Missing required parameter: 'messages[0].content'."),
        ({"role": "user", "content": None}, f"{CONTENT}, not null."),
        ({"role": "user", "content": 3}, f"{CONTENT}."),
        ({"role": "user", "content": {"type": "text", "text": "a"}}, f"{CONTENT}."),
        ({"role": "assistant"}, "Missing required parameter: 'messages[0].content'."),
        ({"role": "tool", "tool_call_id": "c", "content": None}, f"{CONTENT}, not null."),
        ({"role": "function", "content": "a"}, "Missing required parameter: 'messages[0].name'."),
        (
            {"role": "user", "content": "a", "function_call": {"name": "f", "arguments": ""}},
            "Only a turn of the assistant can have function_call.",
        ),
        (
            {"role": "boss", "content": "a"},
            "Invalid 'messages[0].role': must be one of "
            "'system', 'developer', 'user', 'assistant', 'tool' or 'function'.",
        ),
    ],
)
async def test_a_wrong_turn_is_told_in_plain_words(
    mesh: GatewayMesh, message: dict[str, Any], sentence: str
) -> None:
    """An explicit null is not called missing, and both forms of content are named."""
    answer = await mesh.http.post("/v1/chat/completions", json={**CHAT, "messages": [message]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, sentence)
