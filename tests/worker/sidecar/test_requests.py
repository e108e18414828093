"""What a server is asked for, in the spelling of its kind."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.constrain.reading import read_constraint
from inferloom_worker.engines.sidecar.constraints import constraint
from inferloom_worker.engines.sidecar.failures import refused
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.request import server_request
from inferloom_worker.hosting.sidecar.card import card
from inferloom_worker.validate.generate import CompletionRequest, read_generate
from tests.worker.sidecar.facts import facts_of


def body_of(request: pb.GenerateRequest, kind: ServerKind) -> dict[str, Any]:
    """What a server of a kind is asked for."""
    facts = facts_of(kind)
    return server_request(read_generate(request, 2**31), facts, "tenant\0salt").body


def test_a_conversation_is_openais_json() -> None:
    """Calls, results, reasoning and tools; of several tools only those that may be called."""
    chat = pb.ChatInput()
    chat.messages.add(role=pb.ROLE_DEVELOPER).parts.add(text="be")
    chat.messages.add(role=pb.ROLE_USER, name="ann").parts.add(text="hi")
    turn = chat.messages.add(role=pb.ROLE_ASSISTANT)
    turn.parts.add(reasoning="hm")
    turn.parts.add().tool_call.CopyFrom(pb.ToolCall(id="c", name="look", arguments="{}"))
    chat.messages.add(role=pb.ROLE_TOOL).parts.add().tool_result.CopyFrom(
        pb.ToolResult(tool_call_id="c", content="42")
    )
    chat.tools.add(name="look", description="d", parameters_json_schema='{"type": "object"}')
    chat.tools.add(name="other")
    chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
    chat.tool_choice.allowed_names.append("look")
    chat.template.variables.update({"enable_thinking": False, "budget": 5})
    body = body_of(pb.GenerateRequest(model="x", chat=chat), ServerKind.VLLM)
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    assert body["messages"] == [
        {"role": "system", "content": "be"},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    function = {"name": "look", "parameters": {"type": "object"}, "description": "d"}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "required"
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "budget": 5}
    assert "tenant" not in json.dumps(body)
    assert len(body["cache_salt"]) == 32


def test_a_server_whose_model_has_no_place_for_tools_is_given_none() -> None:
    """It would drop them, so they are not on the card, and refused."""
    facts = facts_of(ServerKind.LLAMA, lacks=frozenset({"tools", "tool_choice", "parallel_tool_calls"}))
    assert not {"tools", "tool_choice"} & set(card("m", facts).supported_parameters)
    chat = pb.ChatInput()
    chat.messages.add(role=pb.ROLE_USER).parts.add(text="hi")
    chat.tools.add(name="look")
    with pytest.raises(InferloomError) as refusal:
        server_request(read_generate(pb.GenerateRequest(model="x", chat=chat), 2**31), facts)
    assert (refusal.value.reason, refusal.value.param) == (Reason.UNSUPPORTED_PARAMETER, "chat.tools")
    chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_NONE
    body = server_request(read_generate(pb.GenerateRequest(model="x", chat=chat), 2**31), facts).body
    assert not {"tools", "tool_choice"} & body.keys()  # nothing is to be called, so nothing is missed


def conversation(**variables: Any) -> CompletionRequest:
    """One with variables of a chat template."""
    chat = pb.ChatInput()
    chat.messages.add(role=pb.ROLE_USER).parts.add(text="hi")
    chat.template.variables.update(variables)
    return read_generate(pb.GenerateRequest(model="x", chat=chat), 2**31)


READS = frozenset({"messages", "reasoning_effort"})
READS_NOTHING = frozenset({"messages", "enable_thinking"})


@pytest.mark.parametrize(
    ("kind", "more", "effort", "sent"),
    [
        (ServerKind.OLLAMA, {}, "high", {"reasoning_effort": "high"}),
        (ServerKind.OLLAMA, {}, "none", {"reasoning_effort": "none"}),
        (ServerKind.OLLAMA, {"lacks": frozenset({"reasoning_effort"})}, "none", {}),
        (ServerKind.OPENAI, {}, "none", {}),
        (ServerKind.VLLM, {}, "high", {"chat_template_kwargs": {"reasoning_effort": "high"}}),
        (
            ServerKind.VLLM,
            {},
            "none",
            {"chat_template_kwargs": {"reasoning_effort": "none", "enable_thinking": False}},
        ),
        (
            ServerKind.LLAMA,
            {"variables": READS},
            "high",
            {"chat_template_kwargs": {"reasoning_effort": "high"}},
        ),
        (
            ServerKind.LLAMA,
            {"variables": READS},
            "none",
            {"chat_template_kwargs": {"reasoning_effort": "none"}},
        ),
        (
            ServerKind.LLAMA,
            {"variables": READS_NOTHING},
            "none",
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
    ],
)
def test_an_effort_is_sent_where_it_is_read(
    kind: ServerKind, more: dict[str, Any], effort: str, sent: dict[str, Any]
) -> None:
    """None asks for nothing that a server without such a parameter would have to do."""
    body = server_request(conversation(reasoning_effort=effort), facts_of(kind, **more)).body
    assert {name: body[name] for name in ("reasoning_effort", "chat_template_kwargs") if name in body} == sent


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (ServerKind.OPENAI, {}),
        (ServerKind.OLLAMA, {"lacks": frozenset({"reasoning_effort"})}),
        (ServerKind.LLAMA, {"variables": READS_NOTHING}),
    ],
)
def test_an_effort_that_nobody_would_read_is_refused_by_its_name(
    kind: ServerKind, more: dict[str, Any]
) -> None:
    """And is on no card."""
    facts = facts_of(kind, **more)
    with pytest.raises(InferloomError) as refusal:
        server_request(conversation(reasoning_effort="high"), facts)
    assert refusal.value.reason is Reason.UNSUPPORTED_PARAMETER
    assert refusal.value.param == "chat.template.variables.reasoning_effort"
    assert "reasoning_effort" not in card("m", facts).supported_parameters


def test_what_a_server_may_not_read_is_told() -> None:
    """A verbosity is never an error; a variable of the caller's own is."""
    for kind in (ServerKind.OLLAMA, ServerKind.OPENAI):
        made = server_request(conversation(verbosity="low"), facts_of(kind))
        assert "low" not in json.dumps(made.body)
        assert any("verbosity" in note for note in made.notes)
        with pytest.raises(InferloomError) as refusal:
            server_request(conversation(mood="glad"), facts_of(kind))
        assert refusal.value.param == "chat.template.variables"
    made = server_request(conversation(verbosity="low", reasoning_effort="low"), facts_of(ServerKind.SGLANG))
    assert made.body["chat_template_kwargs"] == {"verbosity": "low", "reasoning_effort": "low"}
    assert len([note for note in made.notes if "reasoning_effort" in note]) == 1


def test_a_card_lists_what_a_template_is_known_to_read() -> None:
    """Of servers that tell it; Ollama says which models think."""
    for facts, listed in (
        (facts_of(ServerKind.LLAMA, variables=READS), ["reasoning_effort"]),
        (facts_of(ServerKind.LLAMA, variables=frozenset({"verbosity"})), ["verbosity"]),
        (facts_of(ServerKind.LLAMA), []),
        (facts_of(ServerKind.VLLM), []),
        (facts_of(ServerKind.OLLAMA), ["reasoning_effort"]),
    ):
        names = card("m", facts).supported_parameters
        assert [name for name in names if name in ("reasoning_effort", "verbosity")] == listed


def test_a_penalty_of_nothing_is_none() -> None:
    """Some clients always send their neutral values; the server's own penalty keeps its window."""
    sampling = pb.SamplingOptions(presence_penalty=0, frequency_penalty=0, repetition_penalty=1)
    body = body_of(pb.GenerateRequest(model="x", text="t", sampling=sampling), ServerKind.LLAMA)
    assert "repeat_last_n" not in body
    sampling.presence_penalty = 0.5
    body = body_of(pb.GenerateRequest(model="x", text="t", sampling=sampling), ServerKind.LLAMA)
    assert body["repeat_last_n"] == 4096


def test_each_kind_has_its_own_spelling() -> None:
    """Of what differs."""
    sampling = pb.SamplingOptions(repetition_penalty=1.1, seed=2**64 - 1, logit_bias={5: -1})
    stopping = pb.StoppingOptions(include_stop=True, stop=["a"])
    request = pb.GenerateRequest(model="x", text="t", sampling=sampling, stopping=stopping)
    body = body_of(request, ServerKind.VLLM)
    assert (body["repetition_penalty"], body["seed"]) == (1.1, 2**63 - 1)
    assert body["include_stop_str_in_output"] is True
    assert body["logit_bias"] == {"5": -1.0}
    assert body["max_tokens"] is None
    request.stopping.ClearField("include_stop")
    body = body_of(request, ServerKind.LLAMA)
    assert (body["repeat_penalty"], body["repeat_last_n"], body["seed"]) == (1.1, 4096, 2**31 - 1)
    assert body["return_tokens"] is True
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    ("asked", "kind", "made"),
    [
        (
            {"json_schema": '{"type": "null"}'},
            ServerKind.VLLM,
            {"structured_outputs": {"json": {"type": "null"}}},
        ),
        ({"json_object": True}, ServerKind.VLLM, {"structured_outputs": {"json_object": True}}),
        ({"regex": "a+"}, ServerKind.VLLM, {"structured_outputs": {"regex": "a+"}}),
        ({"json_schema": '{"type": "null"}'}, ServerKind.LLAMA, {"json_schema": {"type": "null"}}),
        ({"choice": {"texts": ["a", 'b"']}}, ServerKind.LLAMA, {"grammar": 'root ::= "a" | "b\\""'}),
        ({"lark": 'root ::= "a"'}, ServerKind.LLAMA, {"grammar": 'root ::= "a"'}),
        ({"lark": 'start: "a"'}, ServerKind.LLAMA, None),
        ({"regex": "a+"}, ServerKind.LLAMA, None),
        ({"choice": {"texts": ["a.b"]}}, ServerKind.SGLANG, {"regex": "(a\\.b)"}),
        ({"json_object": True}, ServerKind.OLLAMA, {"response_format": {"type": "json_object"}}),
        ({"regex": "a"}, ServerKind.OPENAI, None),
    ],
)
def test_constraints_are_spelled_or_refused_by_name(
    asked: dict[str, Any], kind: ServerKind, made: dict[str, Any] | None
) -> None:
    """As each kind has them."""
    grammar = read_constraint(pb.Constraint(**asked))
    if made is not None:
        assert constraint(grammar, kind, chat=True) == made
        return
    with pytest.raises(InferloomError) as caught:
        constraint(grammar, kind, chat=True)
    assert caught.value.reason is Reason.UNSUPPORTED_PARAMETER
    assert caught.value.param == grammar.param


@pytest.mark.parametrize(
    ("kind", "said"), [(ServerKind.VLLM, 0), (ServerKind.LLAMA, 0), (ServerKind.SGLANG, -1)]
)
def test_drawing_among_all_tokens_is_said_as_the_server_says_it(kind: ServerKind, said: int) -> None:
    """SGLang refuses a zero."""
    request = pb.GenerateRequest(model="m", text="a", sampling=pb.SamplingOptions(top_k=0))
    assert body_of(request, kind)["top_k"] == said


@given(st.integers(100, 599), st.binary(max_size=50), st.text(max_size=9))
def test_any_refusal_has_a_row(status: int, body: bytes, retry: str) -> None:
    """And bounded words."""
    error = refused(status, body, retry)
    assert error.reason in Reason
    assert error.message
