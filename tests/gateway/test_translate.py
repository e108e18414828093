"""Bodies to requests, and events to chunks and bodies, with no I/O."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.http.translate import chat, completions, embeddings
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_gateway.http.translate.plan import Plan
from inferloom_mesh.errors import InferloomError

USER = {"role": "user", "content": "Hi"}


def chat_plan(**body: Any) -> Any:
    """The plan of a chat request with these fields."""
    full = {"model": "m", "messages": [USER], **body}
    return spread(chat.plan(ChatCompletionRequest.model_validate(full), "id", 1))


def text_plan(**body: Any) -> Any:
    """The plan of a completion request with these fields."""
    full = {"model": "m", "prompt": "p", **body}
    return spread(completions.plan(CompletionRequest.model_validate(full), "id", 1))


def spread(plan: Plan) -> Any:
    """The requests, the encoders and the renames of a plan's parts, each as a list."""
    return SimpleNamespace(
        requests=[part.request for part in plan.parts],
        encoders=[part.encoder for part in plan.parts],
        renames=[part.rename for part in plan.parts],
        body=plan.body,
    )


def frames(raw: bytes) -> list[Any]:
    """The JSON of each event."""
    return [orjson.loads(part.removeprefix(b"data: ")) for part in raw.split(b"\n\n") if part]


def test_a_bare_request_sets_nothing() -> None:
    """What a body does not say is absent from the request."""
    (request,) = chat_plan().requests
    message = pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Hi")])
    assert request == pb.GenerateRequest(
        model="m",
        request_id="id",
        chat=pb.ChatInput(messages=[message]),
        stopping=pb.StoppingOptions(),
    )


def test_zero_is_not_unset() -> None:
    """A zero arrives as zero."""
    (request,) = chat_plan(temperature=0, top_k=0, min_p=0, seed=0).requests
    for field in ("temperature", "top_k", "min_p", "seed"):
        assert request.sampling.HasField(field)
        assert getattr(request.sampling, field) == 0


def test_a_whole_conversation_with_tools_is_carried() -> None:
    """Calls, results, names, reasoning and the newer system role have their places."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (request,) = chat_plan(
        messages=[
            {"role": "developer", "content": "d", "name": "boss"},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "r"},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "strict": True}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
    ).requests
    developer, assistant, tool = request.chat.messages
    assert (developer.role, developer.name) == (pb.ROLE_DEVELOPER, "boss")
    assert [part.WhichOneof("part") for part in assistant.parts] == ["reasoning", "tool_call"]
    assert assistant.parts[1].tool_call == pb.ToolCall(id="c", name="f", arguments="{}")
    assert tool.parts[0].tool_result == pb.ToolResult(tool_call_id="c", content="42")
    assert request.chat.tools[0] == pb.Tool(name="f", description="d", strict=True)
    assert request.chat.tool_choice.function_name == "f"


def test_older_turns_are_carried_as_what_replaced_them() -> None:
    """A refusal is text; a function's call and result are a tool's, tied by an id that stays the same."""
    messages = [
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "42"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "content": "again"},
        {"role": "function", "name": "f", "content": None},
        {"role": "function", "name": "g", "content": "unasked"},
        {"role": "user", "content": "Hi"},
    ]
    first, second = (chat_plan(messages=messages).requests[0].chat for _ in range(2))
    assert first == second
    refusal, call, result, again, empty, unasked, _ = first.messages
    assert [part.text for part in refusal.parts] == ["No."]
    made = call.parts[0].tool_call
    assert (made.name, made.arguments, len(made.id), made.id.isalnum()) == ("f", "{}", 9, True)
    assert (result.role, result.name) == (pb.ROLE_TOOL, "f")
    assert result.parts[0].tool_result == pb.ToolResult(tool_call_id=made.id, content="42")
    assert [part.WhichOneof("part") for part in again.parts] == ["text", "tool_call"]
    assert again.parts[1].tool_call.id != made.id
    assert empty.parts[0].tool_result == pb.ToolResult(tool_call_id=again.parts[1].tool_call.id)
    assert unasked.parts[0].tool_result.tool_call_id not in (made.id, again.parts[1].tool_call.id, "")


@pytest.mark.parametrize(
    ("wanted", "constraint"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, pb.Constraint(json_object=True)),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}},
            pb.Constraint(json_schema='{"type":"integer"}'),
        ),
        (
            {"type": "json_object", "schema": {"type": "integer"}},
            pb.Constraint(json_schema='{"type":"integer"}'),
        ),
        (
            {"type": "json_schema", "schema": {"type": "integer"}},
            pb.Constraint(json_schema='{"type":"integer"}'),
        ),
    ],
    ids=["text", "json_object", "json_schema", "object of a schema", "schema beside its type"],
)
def test_response_formats_become_constraints(
    wanted: dict[str, Any], constraint: pb.Constraint | None
) -> None:
    """JSON is asked for through the contract; plain text asks for nothing."""
    (request,) = chat_plan(response_format=wanted).requests
    assert request.HasField("constraint") == (constraint is not None)
    assert request.constraint == (constraint or pb.Constraint())


def test_a_schema_beside_the_type_of_the_format_is_named_in_errors() -> None:
    """As llama.cpp's server takes it; of two one would be lost."""
    wanted: dict[str, Any] = {"type": "json_object", "schema": {}}
    assert chat_plan(response_format=wanted).renames[0]("constraint.json_schema") == "response_format.schema"
    with pytest.raises(InferloomError, match="Only one of") as caught:
        chat_plan(response_format={"type": "json_schema", "schema": {}, "json_schema": {"schema": {}}})
    assert caught.value.param == "response_format.schema"


CONSTRAINED: dict[str, tuple[Any, pb.Constraint]] = {
    "guided_json": ({"type": "null"}, pb.Constraint(json_schema='{"type":"null"}')),
    "guided_regex": ("a+", pb.Constraint(regex="a+")),
    "guided_choice": (["a", "b"], pb.Constraint(choice=pb.Choices(texts=["a", "b"]))),
    "guided_grammar": ('start: "a"', pb.Constraint(lark='start: "a"')),
    "structured_outputs.json": ('{"type":"null"}', pb.Constraint(json_schema='{"type":"null"}')),
    "structured_outputs.regex": ("a+", pb.Constraint(regex="a+")),
    "structured_outputs.choice": (["a"], pb.Constraint(choice=pb.Choices(texts=["a"]))),
    "structured_outputs.grammar": ('start: "a"', pb.Constraint(lark='start: "a"')),
    "structured_outputs.json_object": (True, pb.Constraint(json_object=True)),
    "grammar": ('root ::= "a"', pb.Constraint(lark='root ::= "a"')),
    "regex": ("a+", pb.Constraint(regex="a+")),
}


@pytest.mark.parametrize("name", CONSTRAINED)
def test_other_servers_words_for_constraints_are_understood_and_used_in_errors(name: str) -> None:
    """On both endpoints; an error at the constraint names what the caller wrote."""
    value, constraint = CONSTRAINED[name]
    around, _, inner = name.rpartition(".")
    body = {around: {inner: value}} if around else {name: value}
    for plan in (chat_plan(**body), text_plan(**body)):
        assert plan.requests[0].constraint == constraint
        assert plan.renames[0](f"constraint.{constraint.WhichOneof('grammar')}") == name
        assert plan.renames[0]("sampling.top_p") == "top_p"


def test_the_newer_name_of_max_tokens_wins_and_is_named_in_errors() -> None:
    """max_completion_tokens is what it was called by the caller."""
    plan = chat_plan(max_tokens=5, max_completion_tokens=7)
    assert plan.requests[0].stopping.max_tokens == 7
    assert plan.renames[0]("stopping.max_tokens") == "max_completion_tokens"
    assert chat_plan(max_tokens=5).renames[0]("stopping.max_tokens") == "max_tokens"


def test_a_completions_limit_may_have_a_chats_name() -> None:
    """Benchmarks send both; the newer one wins here too."""
    plan = text_plan(max_tokens=5, max_completion_tokens=7)
    assert plan.requests[0].stopping.max_tokens == 7
    assert plan.renames[0]("stopping.max_tokens") == "max_completion_tokens"
    assert text_plan(max_tokens=0).requests[0].stopping.max_tokens == 0
    assert text_plan(max_tokens=5).renames[0]("stopping.max_tokens") == "max_tokens"


def test_chunks_carry_any_text_safely() -> None:
    """Quotes, newlines, null bytes and the end of a frame stay inside their JSON string."""
    plan = chat_plan(stream=True)
    (encoder,) = plan.encoders
    assert frames(encoder.started(pb.Started()))[0]["choices"][0]["delta"]["role"] == "assistant"
    for text in ('"', "\n\ndata: [DONE]\n\n", "\0", "\\", "é🌍", "\u2028"):
        (chunk,) = frames(encoder.delta(pb.Delta(text=text)))
        assert chunk["choices"][0]["delta"] == {"content": text}
    assert encoder.delta(pb.Delta(token_ids=[1])) == b""


@pytest.mark.parametrize("plain", [True, False])
def test_an_event_is_one_line_to_whoever_splits_lines_as_python_does(plain: bool) -> None:
    """httpx's iter_lines, by which many clients read, ends a line at these too."""
    text = "a\u2028b\u2029c\x85d\\\u2028é"
    logprobs = [] if plain else [pb.TokenLogprob(token=text)]
    options: dict[str, Any] = {} if plain else {"logprobs": True}
    (chat,) = chat_plan(stream=True, **options).encoders
    (completion,) = text_plan(prompt="a", stream=True, **({} if plain else {"logprobs": 1})).encoders
    for encoder in (chat, completion):
        encoder.started(pb.Started())
        raw = encoder.delta(pb.Delta(text=text, logprobs=logprobs))
        assert len(raw.decode().splitlines()) == 2
        choice = frames(raw)[0]["choices"][0]
        assert choice.get("text", choice.get("delta", {}).get("content")) == text


def test_parts_of_other_clients_are_carried() -> None:
    """Text under the names that turns of a response have, and what was thought, whole or in pieces."""
    pieces = [{"type": "text", "text": "H"}, {"type": "text", "text": "m."}]
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "Yes"}]}
    turns = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, *answer["content"]]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": pieces}, *answer["content"]]},
        {**answer, "reasoning_content": "Hm."},
    ]
    user, *answers = chat_plan(messages=turns).requests[0].chat.messages

    assert user.parts == [pb.ContentPart(text="Hi")]
    assert all(
        turn.parts == [pb.ContentPart(reasoning="Hm."), pb.ContentPart(text="Yes")] for turn in answers
    )


@pytest.mark.parametrize(
    ("role", "part", "param"),
    [
        ("user", {"type": "thinking", "thinking": "Hm."}, "messages[0].content[0].type"),
        ("assistant", {"type": "thinking"}, "messages[0].content[0].thinking"),
        ("assistant", {"type": "output_text"}, "messages[0].content[0].text"),
    ],
)
def test_parts_that_cannot_be_there_are_named(role: str, part: dict[str, Any], param: str) -> None:
    """Users think for themselves, and each type needs what it is called for."""
    with pytest.raises(InferloomError) as caught:
        chat_plan(messages=[{"role": role, "content": [part]}])
    assert caught.value.param == param


def test_a_turn_of_the_assistant_may_be_empty() -> None:
    """Null is as good as an empty text: histories have it where a model only reasoned, or said nothing."""
    asked = [
        chat_plan(messages=[{"role": "assistant", "content": content}, {"role": "user", "content": "Hi"}])
        for content in (None, "")
    ]
    assert asked[0].requests[0].chat == asked[1].requests[0].chat
    assert asked[0].requests[0].chat.messages[0].parts == [pb.ContentPart(text="")]


def test_the_prebuilt_frame_equals_a_chunk_built_in_full() -> None:
    """A text chunk has every field that the other chunks have."""
    for usage in (None, {"include_usage": True}):
        (encoder,) = chat_plan(stream=True, stream_options=usage, n=2).encoders
        encoder.started(pb.Started(compute_hash="abc"))
        (text,) = frames(encoder.delta(pb.Delta(choice=1, text="a")))
        (end,) = frames(encoder.finished(pb.Finished(choice=1, reason=pb.FINISH_REASON_LENGTH)))
        assert text.keys() == end.keys()
        assert ("usage" in text) == (usage is not None)
        assert text["choices"][0].keys() == end["choices"][0].keys()
        assert (text["choices"][0]["index"], end["choices"][0]["finish_reason"]) == (1, "length")
        assert text["system_fingerprint"] == "fp_abc"


def test_text_chunks_of_a_later_prompt_are_numbered_on() -> None:
    """The second of two prompts with n=2 has choices 2 and 3."""
    encoder = text_plan(prompt=["a", "b"], n=2, stream=True).encoders[1]
    assert encoder.started(pb.Started()) == b""
    (chunk,) = frames(encoder.delta(pb.Delta(choice=1, text="x")))
    assert chunk["choices"] == [{"index": 3, "text": "x", "logprobs": None, "finish_reason": None}]


def test_names_of_generations_stay_in_bounds() -> None:
    """Each prompt's generation has its own name of at most 128 characters."""
    body = CompletionRequest.model_validate({"model": "m", "prompt": ["a"] * 128})
    names = [part.request.request_id for part in completions.plan(body, "x" * 128, 1).parts]
    assert len(set(names)) == 128
    assert max(map(len, names)) <= 128


def test_an_outcome_folds_events_of_interleaved_choices() -> None:
    """Text, finish reasons and usage end up with their choice."""
    outcome = Outcome(2)
    for event in (
        pb.GenerateResponse(started=pb.Started(compute_hash="r")),
        pb.GenerateResponse(delta=pb.Delta(choice=1, text="b")),
        pb.GenerateResponse(delta=pb.Delta(choice=0, text="a")),
        pb.GenerateResponse(heartbeat=pb.Heartbeat()),
        pb.GenerateResponse(delta=pb.Delta(choice=1, text="c")),
        pb.GenerateResponse(finished=pb.Finished(choice=1, reason=pb.FINISH_REASON_STOP)),
        pb.GenerateResponse(finished=pb.Finished(choice=0, reason=pb.FINISH_REASON_LENGTH)),
        pb.GenerateResponse(completed=pb.Completed(usage=pb.Usage(completion_tokens=3))),
    ):
        outcome.add(event)
    assert ["".join(choice.text) for choice in outcome.choices] == ["a", "bc"]
    assert [choice.finish_reason for choice in outcome.choices] == ["length", "stop"]
    assert outcome.usage.completion_tokens == 3


def test_embedding_inputs_are_batched_in_order() -> None:
    """Batches hold at most the batch size, and mix no order."""
    body = EmbeddingRequest.model_validate({"model": "m", "input": ["a", "b", "c"], "dimensions": 2})
    first, second = embeddings.batches(body, "id", 2)
    assert [item.text for item in (*first.inputs, *second.inputs)] == ["a", "b", "c"]
    assert (first.dimensions, first.request_id, second.request_id) == (2, "id.0", "id.1")
    (alone,) = embeddings.batches(body, "id", 3)
    assert alone.request_id == "id"


def test_the_engine_path_names_the_model_unless_the_body_does() -> None:
    """The body's model wins over the path's."""
    assert EngineEmbeddingRequest.model_validate({"input": "a"}).of("path").model == "path"
    assert EngineEmbeddingRequest.model_validate({"input": "a", "model": "b"}).of("path").model == "b"


@pytest.mark.parametrize(
    "prompt", ["", "a", ["a", "b"], [1, 2], [[1], [2, 3]], [0, 2**32 - 1], ["" for _ in range(128)]]
)
def test_prompts_of_all_four_forms_are_read(prompt: Any) -> None:
    """One or many, text or tokens."""
    assert CompletionRequest.model_validate({"model": "m", "prompt": prompt}).prompt


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": ""}])
def test_no_prompt_is_an_empty_one(body: dict[str, Any]) -> None:
    """OpenAI begins a new document, and so does a worker."""
    plan = completions.plan(CompletionRequest.model_validate({"model": "m", **body}), "id", 1)
    request = plan.parts[0].request
    assert request.WhichOneof("input") == "text"
    assert request.text == ""


@pytest.mark.parametrize("top_p", [0, 0.0, 1e-50])
def test_a_top_p_of_nothing_takes_the_likeliest_token(top_p: float) -> None:
    """OpenAI's range begins at 0, the contract's above it; 1e-50 is 0 in its type."""
    (request,) = chat_plan(top_p=top_p, top_k=50).requests
    assert not request.sampling.HasField("top_p")
    assert request.sampling.top_k == 1


@pytest.mark.parametrize(
    ("fields", "truncate"),
    [
        ({}, None),
        ({"truncate": True}, True),
        ({"truncate": False}, False),
        ({"truncate_prompt_tokens": -1}, True),
    ],
)
def test_an_embedding_is_cut_and_scaled_as_asked(fields: dict[str, Any], truncate: bool | None) -> None:
    """``truncate_prompt_tokens: -1`` is vLLM's spelling of ``truncate``."""
    body = EmbeddingRequest.model_validate({"model": "m", "input": "a", "normalize": False, **fields})
    (batch,) = embeddings.batches(body, "id", 8)
    assert batch.HasField("truncate") == (truncate is not None)
    assert batch.truncate is bool(truncate)
    assert (batch.HasField("normalize"), batch.normalize) == (True, False)


@pytest.mark.parametrize("prompt", [[], {}, 1, [[]], [[], [1]], ["a", [1]], [1, "a"], [True], [1.0], [-1]])
def test_anything_else_is_no_prompt(prompt: Any) -> None:
    """Mixed, empty and misshapen prompts are refused at the field."""
    with pytest.raises(ValidationError) as caught:
        CompletionRequest.model_validate({"model": "m", "prompt": prompt})
    assert caught.value.errors()[0]["loc"] == ("prompt",)
