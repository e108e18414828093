"""Fields that nobody knows, at any depth, and fields that are known and refused."""

import logging
from typing import Any
from urllib.parse import unquote

import pytest

from inferloom.parameter_table import Meaning
from inferloom.parameters import ENDPOINTS
from inferloom_gateway.http.unknown_fields import IGNORED_HEADER, FieldPolicy, ignored_header, judge
from inferloom_mesh.errors import InferloomError, Reason
from tests.logged import own_records

USER = {"role": "user", "content": "Hi"}


def paths(body: dict[str, Any], endpoint: str = "chat") -> list[str]:
    """The unknown fields of a body."""
    return [one.path for one in judge(endpoint, body)]


def test_hints_pass_and_what_asks_for_nothing_passes() -> None:
    """Null, and the values with which a refused parameter asks for nothing."""
    assert paths({"user": "u", "functions": [], "best_of": None, "best_of": 1, "zzz": 1}) == ["zzz"]  # noqa: F601
    assert paths({"zzz": None}) == []


@pytest.mark.parametrize("value", [True, 0, "no"])
def test_a_known_parameter_that_is_not_supported_is_refused(value: object) -> None:
    """0 asks for something else than false."""
    with pytest.raises(InferloomError) as caught:
        judge("completions", {"store": value})
    assert (caught.value.reason, caught.value.param) == (Reason.UNSUPPORTED_PARAMETER, "store")


def test_what_belongs_to_another_endpoint_is_refused_there() -> None:
    """A conversation of a chat's is no response's; that usage is told is no option of a response's stream."""
    with pytest.raises(InferloomError) as caught:
        judge("responses", {"input": "Hi", "messages": [USER]})
    assert caught.value.param == "messages"
    assert paths({"input": "Hi", "stream_options": {"include_usage": True}}, "responses") == []


def test_nested_fields_are_judged_like_top_level_ones() -> None:
    """Each with its path; a name that repeats in a list, at its first place."""
    assert paths(
        {
            "messages": [USER, {**USER, "nonsense": 1}, {**USER, "nonsense": 2, "prefix": True}],
            "stream_options": {"include_usage": True, "continuous_usage": True},
            "tools": [{"type": "function", "function": {"name": "f", "note": "x"}}],
        }
    ) == [
        "messages[1].nonsense",
        "messages[2].prefix",
        "stream_options.continuous_usage",
        "tools[0].function.note",
    ]
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "a", "cache_control": {}}]
    assert paths({"messages": [{"role": "user", "content": content}]}) == [
        "messages[0].content[1].cache_control"
    ]
    with pytest.raises(InferloomError) as caught:
        judge("chat", {"messages": [{**USER, "audio": {"id": "a"}}]})
    assert caught.value.param == "messages[0].audio"


def test_a_field_of_another_type_of_object_is_unknown_where_it_stands() -> None:
    """A function has no tools, a namespace no parameters, and only calls were of a namespace."""
    free, grammar = {"parameters": {}, "strict": True}, {"format": {"type": "text"}}
    function, custom = {"type": "function", "name": "f"}, {"type": "custom", "name": "c"}
    inside = [{**function, **free}, {**custom, **grammar}]
    space = {"type": "namespace", "name": "n", "tools": inside}
    calls = [{"type": kind, "namespace": "n"} for kind in ("function_call", "custom_tool_call")]
    said: list[dict[str, Any]] = [{"role": "user", "content": "Hi", "namespace": None}, *calls]
    assert paths({"tools": [*inside, space], "input": said}, "responses") == []

    said[0]["namespace"] = "n"
    body = {"tools": [{**function, "tools": inside}, {**space, **free, **grammar}, custom], "input": said}
    assert paths(body, "responses") == [
        *("tools[0].tools", "tools[1].parameters", "tools[1].strict", "tools[1].format"),
        "input[0].namespace",
    ]
    inside[0], inside[1] = {**function, **grammar}, {**custom, **free}
    assert paths({"tools": [space]}, "responses") == [
        *("tools[0].tools[0].format", "tools[0].tools[1].parameters", "tools[0].tools[1].strict")
    ]
    output = {"type": "function_call_output", "call_id": "c", "output": "1", "name": "f", "namespace": "n"}
    assert paths({"input": [*calls, output]}, "responses") == []
    output["type"] = "custom_tool_call_output"
    del output["name"]
    with pytest.raises(InferloomError) as caught:
        FieldPolicy(strict=True).headers("responses", {"input": [*calls, output]})
    assert (caught.value.reason, caught.value.param) == (Reason.UNKNOWN_PARAMETER, "input[2].namespace")


@pytest.mark.parametrize(
    ("endpoint", "body", "unread"),
    [
        (
            "chat",
            {"messages": [{**USER, "content": [{"type": "text", "text": "a", "refusal": "b"}]}]},
            "content[0].refusal",
        ),
        ("chat", {"tools": [{"type": "function", "function": {}, "custom": {}}]}, "custom"),
        ("chat", {"tool_choice": {"type": "auto", "function": {"name": "f"}}}, "function"),
        ("responses", {"input": [{**USER, "arguments": "{}"}]}, "arguments"),
        ("responses", {"input": [{"type": "reasoning", "summary": [], "output": "a"}]}, "output"),
        ("responses", {"tool_choice": {"type": "auto", "name": "f"}}, "name"),
        ("responses", {"input": [{"type": {}, "role": "user", "output": "a"}]}, "output"),
    ],
)
def test_what_another_type_of_object_has_is_not_dropped_in_silence(
    endpoint: str, body: dict[str, Any], unread: str
) -> None:
    """It is named, as what nobody knows."""
    (found,) = paths(body, endpoint)
    assert found.endswith(unread)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", {"messages": [{"role": "assistant", "content": "{}", "parsed": {"a": 1}}]}),
        (
            "chat",
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"type": "function", "function": {"parsed_arguments": {"a": 1}}}],
                    }
                ]
            },
        ),
        (
            "chat",
            {
                "messages": [
                    {
                        "content": [
                            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
                        ]
                    }
                ]
            },
        ),
        (
            "responses",
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "output": [
                            {
                                "type": "input_text",
                                "text": "a",
                                "prompt_cache_breakpoint": {"mode": "explicit"},
                            }
                        ],
                    }
                ]
            },
        ),
        ("responses", {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}),
    ],
)
def test_what_openais_own_sdk_sends_is_known(endpoint: str, body: dict[str, Any]) -> None:
    """Answers that it parsed, sent back as they are; marks for its cache."""
    assert paths(body, endpoint) == []


@pytest.mark.parametrize(
    "body",
    [
        {"logit_bias": {"5": 1}},
        {"metadata": {"any": "thing"}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}, "description": "d"}}},
    ],
)
def test_what_is_free_inside_is_not_judged(body: dict[str, Any]) -> None:
    """Maps, schemas and template variables have names of their own."""
    assert paths(body) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("maxtokens", "max_tokens"),
        ("topp", "top_p"),
        ("wibble", None),
        ("x" * 100_000, None),
    ],
)
def test_a_near_name_is_suggested(name: str, meant: str | None) -> None:
    """A slip of the finger is told from a foreign parameter."""
    (unknown,) = judge("chat", {name: 1})
    assert unknown.meant == meant


def test_a_name_is_near_to_those_of_its_own_place() -> None:
    """``include_usages`` belongs to stream options."""
    (unknown,) = judge("chat", {"stream_options": {"include_usages": True}})
    assert unknown.meant == "include_usage"


def test_the_header_is_bounded_and_safe() -> None:
    """However many and long the unknown names are, it stays under 1 KB, and no name ends the header."""
    body = {f"{number}{'ö' * 1000}": 1 for number in range(1000)}
    header = ignored_header(judge("chat", body))[IGNORED_HEADER]
    assert len(header) < 1024
    assert header.isascii()
    assert unquote(header).startswith("0ööö")
    assert "\n" not in ignored_header(judge("chat", {"a\r\nb: c": 1}))[IGNORED_HEADER]
    assert ignored_header([]) == {}


def test_the_header_suggests() -> None:
    """In plain words."""
    assert ignored_header(judge("chat", {"temprature": 1, "wibble": 2})) == {
        IGNORED_HEADER: "temprature (did you mean temperature?), wibble"
    }


def test_a_strict_gateway_refuses_and_names_all() -> None:
    """One 400 for all of them."""
    with pytest.raises(InferloomError) as caught:
        FieldPolicy(strict=True).headers("chat", {"temprature": 1, "messages": [{**USER, "wibble": 1}]})
    assert (caught.value.reason, caught.value.param) == (Reason.UNKNOWN_PARAMETER, "temprature")
    assert caught.value.message == (
        "Unknown parameters: 'temprature' (did you mean 'temperature'?), 'messages[0].wibble'."
    )
    with pytest.raises(InferloomError) as caught:
        FieldPolicy(strict=True).headers("chat", {f"{number}{'x' * 1000}": 1 for number in range(1000)})
    assert len(caught.value.message) < 400
    assert caught.value.message.count("x") <= 200


def test_each_unknown_name_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not once a request, and not without end."""
    policy = FieldPolicy(strict=False)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            policy.headers("chat", {"temprature": 1})
        assert [record.getMessage() for record in own_records(caplog)] == [
            "chat: ignoring the unknown parameter 'temprature' (did you mean temperature?)"
        ]
        for number in range(1000):
            policy.headers("chat", {f"n{number}": 1})
    assert len(own_records(caplog)) <= 256


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_refused_row_is_refused_and_every_hint_is_accepted(endpoint: Any) -> None:
    """By the table, endpoint by endpoint."""
    for row in endpoint.parameters.values():
        if "." in row.name:
            continue
        if row.meaning is Meaning.HINT:
            assert judge(endpoint.name, {row.name: "anything"}) == []
        elif row.meaning is Meaning.REFUSED:
            for value in (None, *row.nothing):
                assert judge(endpoint.name, {row.name: value}) == []
            with pytest.raises(InferloomError, match=row.name):
                judge(endpoint.name, {row.name: {"something": "else"}})
