"""What is refused by name, and what is accepted without effect, over the whole table."""

import json
from typing import Any

import pytest

from inferloom.parameter_table import Meaning, RestParameter
from inferloom.parameters import ENDPOINTS
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.translate import chat
from inferloom_gateway.http.unknown_fields import judge
from inferloom_mesh.errors import InferloomError, Reason

REFUSED = [
    pytest.param(endpoint.name, row, id=f"{endpoint.name}-{row.name}")
    for endpoint in ENDPOINTS
    for row in endpoint.parameters.values()
    if row.meaning is Meaning.REFUSED
]
CHAT = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "chat").parameters


def around(name: str, value: Any) -> dict[str, Any]:
    """The body that has a value at a place, such as ``messages[].audio``."""
    first, dot, rest = name.partition(".")
    inner = around(rest, value) if dot else value
    return {first.removesuffix("[]"): [inner] if first.endswith("[]") else inner}


@pytest.mark.parametrize(("endpoint", "row"), REFUSED)
def test_what_is_refused_is_refused_by_name(endpoint: str, row: RestParameter) -> None:
    """Unless its value asks for nothing, or is null."""
    for nothing in (None, *row.nothing):
        assert judge(endpoint, around(row.name, nothing)) == []
    for value in ({"wants": "something"}, 7.5, "something"):
        with pytest.raises(InferloomError) as caught:
            judge(endpoint, around(row.name, value))
        assert caught.value.reason is Reason.UNSUPPORTED_PARAMETER
        assert caught.value.param == row.name.replace("[]", "[0]")


@pytest.mark.parametrize("name", ["audio", "modalities", "web_search_options", "moderation"])
def test_what_chats_cannot_have_is_in_the_table(name: str) -> None:
    """OpenAI's own parameters that nothing here can do."""
    assert CHAT[name].meaning is Meaning.REFUSED


@pytest.mark.parametrize(
    "name",
    [
        *("user", "safety_identifier", "prompt_cache_retention", "prompt_cache_options"),
        *("spaces_between_special_tokens", "stream_options.include_obfuscation"),
    ],
)
def test_hints_are_accepted_without_effect(name: str) -> None:
    """Whatever they say."""
    assert CHAT[name].meaning is Meaning.HINT
    assert judge("chat", around(name, "anything")) == []


MEDIA: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
]


@pytest.mark.parametrize("part", MEDIA, ids=json.dumps)
@pytest.mark.parametrize("role", ["user", "system", "assistant"])
def test_parts_that_are_no_text_are_refused_by_name(role: str, part: dict[str, Any]) -> None:
    """At their place, with the kind that they are of."""
    content = [{"type": "text", "text": "What is this?"}, part]
    body = ChatCompletionRequest.model_validate(
        {"model": "m", "messages": [{"role": role, "content": content}]}
    )
    with pytest.raises(InferloomError) as caught:
        chat.plan(body, "id", 1)
    assert (caught.value.reason, caught.value.param) == (
        Reason.UNSUPPORTED_PARAMETER,
        "messages[0].content[1]",
    )
    assert part["type"] in caught.value.message
