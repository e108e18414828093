"""Requests become typed values, or the error table's answer."""

import math
from typing import Any

import pytest

from inferloom.parameter_table import Honour
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.hosting.capabilities import honoured_by
from inferloom_worker.validate.embed import read_embed
from inferloom_worker.validate.generate import (
    ChatPrompt,
    CompletionRequest,
    TextPrompt,
    TokenPrompt,
    fit_max_tokens,
    read_generate,
)

VOCABULARY = 100
NAN, INF = math.nan, math.inf


def generate(**fields: Any) -> pb.GenerateRequest:
    """A valid request, with whatever differs."""
    return pb.GenerateRequest(**{"model": "m", "text": "hello", **fields})


def read(**fields: Any) -> CompletionRequest:
    """The same, read."""
    return read_generate(generate(**fields), VOCABULARY)


def chat(*messages: pb.ChatMessage, **fields: Any) -> dict[str, Any]:
    """A conversation in the place of the text."""
    return {"text": None, "chat": pb.ChatInput(messages=messages, **fields)}


def message(role: pb.Role.ValueType = pb.ROLE_USER, *parts: pb.ContentPart) -> pb.ChatMessage:
    """One turn."""
    return pb.ChatMessage(role=role, parts=parts or [pb.ContentPart(text="hi")])


def sampling(**fields: Any) -> dict[str, Any]:
    """Sampling options."""
    return {"sampling": pb.SamplingOptions(**fields)}


def stopping(**fields: Any) -> dict[str, Any]:
    """Stopping options."""
    return {"stopping": pb.StoppingOptions(**fields)}


CALL = pb.ContentPart(tool_call=pb.ToolCall(name="f"))
RESULT = pb.ContentPart(tool_result=pb.ToolResult(tool_call_id="c"))

INVALID: list[tuple[str, dict[str, Any]]] = [
    ("input", {"text": None}),
    ("request_id", {"request_id": "a b"}),
    ("request_id", {"request_id": "x" * 129}),
    ("request_id", {"request_id": "naïve"}),
    ("token_ids.ids", {"text": None, "token_ids": pb.TokenIds()}),
    ("token_ids.ids[1]", {"text": None, "token_ids": pb.TokenIds(ids=[1, VOCABULARY])}),
    ("chat.messages", chat()),
    ("chat.messages[0].role", chat(message(pb.ROLE_UNSPECIFIED))),
    ("chat.messages[0].role", chat(message(99))),  # type: ignore[arg-type]
    ("chat.messages[0].parts", chat(pb.ChatMessage(role=pb.ROLE_USER))),
    ("chat.messages[0].parts[0]", chat(message(pb.ROLE_USER, pb.ContentPart()))),
    ("chat.messages[0].parts[0]", chat(message(pb.ROLE_USER, CALL))),
    ("chat.messages[0].parts[0]", chat(message(pb.ROLE_USER, pb.ContentPart(reasoning="r")))),
    ("chat.messages[0].parts[0]", chat(message(pb.ROLE_ASSISTANT, RESULT))),
    (
        "chat.template.add_generation_prompt",
        chat(
            message(),
            template=pb.TemplateOptions(add_generation_prompt=True, continue_final_message=True),
        ),
    ),
    *(
        (f"sampling.{name}", sampling(**{name: value}))
        for name, values in {
            "temperature": (-0.1, 2.1, NAN, INF, -INF),
            "top_p": (0.0, 1.1, NAN, INF),
            "min_p": (-0.1, 1.1, NAN, INF),
            "presence_penalty": (-2.1, 2.1, NAN, INF),
            "frequency_penalty": (-2.1, 2.1, NAN, -INF),
            "repetition_penalty": (0.0, 1e-38, 0.009, -1.0, 10.1, NAN, INF),
            "n": (0, 129, 10**6),
        }.items()
        for value in values
    ),
    ("sampling.logit_bias", sampling(logit_bias=dict.fromkeys(range(1025), 0.0))),
    (f"sampling.logit_bias[{VOCABULARY}]", sampling(logit_bias={VOCABULARY: 1.0})),
    ("sampling.logit_bias[5]", sampling(logit_bias={5: NAN})),
    ("sampling.logit_bias[5]", sampling(logit_bias={5: 101.0})),
    ("stopping.stop", stopping(stop=["x"] * 17)),
    ("stopping.stop[1]", stopping(stop=["x", ""])),
    ("stopping.stop[0]", stopping(stop=["x" * 1025])),
    ("stopping.stop_token_ids", stopping(stop_token_ids=[1] * 65)),
    ("stopping.stop_token_ids[0]", stopping(stop_token_ids=[VOCABULARY])),
    ("output.top_logprobs", {"output": pb.OutputOptions(logprobs=True, top_logprobs=21)}),
    ("output.top_logprobs", {"output": pb.OutputOptions(top_logprobs=1)}),
    ("priority", {"priority": -101}),
    ("cache_salt", {"cache_salt": "x" * 129}),
]


@pytest.mark.parametrize(("param", "fields"), INVALID)
def test_an_invalid_field_is_named(param: str, fields: dict[str, Any]) -> None:
    """Whatever the contract does not allow is INVALID_ARGUMENT at its field."""
    with pytest.raises(InferloomError) as caught:
        read(**fields)

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, param)


@pytest.mark.parametrize("name", ["messages", "chat_template", "tools", "a b", "conversations"])
def test_a_template_variable_cannot_replace_how_the_template_is_called(name: str) -> None:
    """Above all, a request brings no template of its own."""
    options = pb.TemplateOptions()
    options.variables[name] = "x"
    with pytest.raises(InferloomError) as caught:
        read(**chat(message(), template=options))

    assert caught.value.param == "chat.template.variables"


F = pb.Tool(name="f")
REQUIRED = pb.TOOL_CHOICE_MODE_REQUIRED
CHOICES: list[tuple[str, list[pb.Tool], pb.ToolChoice]] = [
    ("mode", [F], pb.ToolChoice()),
    ("mode", [F], pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_UNSPECIFIED)),
    ("mode", [], pb.ToolChoice(mode=REQUIRED)),
    ("function_name", [], pb.ToolChoice(function_name="f")),
    ("function_name", [F], pb.ToolChoice(function_name="g")),
    ("allowed_names[1]", [F], pb.ToolChoice(mode=REQUIRED, allowed_names=["f", "g"])),
    ("allowed_names", [F], pb.ToolChoice(function_name="f", allowed_names=["f"])),
]


@pytest.mark.parametrize(("field", "tools", "choice"), CHOICES)
def test_a_choice_is_of_tools_that_there_are(field: str, tools: list[pb.Tool], choice: pb.ToolChoice) -> None:
    """Whatever it names is among the tools."""
    with pytest.raises(InferloomError) as caught:
        read(**chat(message(), tools=tools, tool_choice=choice))

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, f"chat.tool_choice.{field}")


DEEP = "[" * 70 + "]" * 70
BAD_TOOLS: list[tuple[str, pb.Tool]] = [
    ("name", pb.Tool(name="a b")),
    ("parameters_json_schema", pb.Tool(name="f", parameters_json_schema="[1]")),
    ("parameters_json_schema", pb.Tool(name="f", parameters_json_schema=f'{{"a": {DEEP}}}')),
    ("parameters_json_schema", pb.Tool(name="f", parameters_json_schema=f'{{"a": "{"a" * 2**18}"}}')),
    ("parameters_json_schema", pb.Tool(name="f", parameters_json_schema="{}", custom=pb.CustomTool())),
    ("custom.lark", pb.Tool(name="f", custom=pb.CustomTool(lark=""))),
    ("custom.regex", pb.Tool(name="f", custom=pb.CustomTool(regex="a" * (2**18 + 1)))),
]


@pytest.mark.parametrize(("field", "tool"), BAD_TOOLS)
def test_what_is_said_of_a_tool_is_bounded(field: str, tool: pb.Tool) -> None:
    """Names, schemas and grammars come from strangers."""
    with pytest.raises(InferloomError) as caught:
        read(**chat(message(), tools=[F, tool]))

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, f"chat.tools[1].{field}")


@pytest.mark.parametrize(
    "fields",
    [
        {"priority": 5},
        {"cache_salt": "a"},
        chat(message(), tool_choice=pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)),
    ],
)
def test_a_field_that_is_honoured_or_asks_for_nothing_is_accepted(fields: dict[str, Any]) -> None:
    """Neither is refused."""
    assert read(**fields).n == 1


def test_absent_fields_get_the_contracts_defaults() -> None:
    """A request with nothing but a text is complete; its seed is random, its name made."""
    first, second = read(), read()

    assert first.sampling.temperature == 1.0
    assert (first.n, first.stopping.max_tokens, first.top_logprobs, first.echo) == (1, None, None, False)
    assert first.sampling.seed != second.sampling.seed
    assert first.request_id != second.request_id
    assert isinstance(first.prompt, TextPrompt)


def test_present_fields_are_passed_on() -> None:
    """Zero is not unset: a temperature and a seed of 0 are kept."""
    request = read(
        request_id="r-1",
        sampling=pb.SamplingOptions(temperature=0, seed=0, top_k=5, n=3, logit_bias={7: -1.5}),
        stopping=pb.StoppingOptions(
            max_tokens=9, min_tokens=2, stop=["."], stop_token_ids=[3], ignore_eos=True
        ),
        output=pb.OutputOptions(logprobs=True, echo=True),
    )

    assert (request.request_id, request.n, request.echo) == ("r-1", 3, True)
    assert (request.sampling.temperature, request.sampling.seed, request.sampling.top_k) == (0.0, 0, 5)
    assert request.sampling.logit_bias == {7: -1.5}
    assert request.top_logprobs == 0
    assert request.stopping.token_ids == {3}
    assert request.stopping.strings == (".",)
    assert request.stopping.ignore_eos


def test_what_a_request_does_not_say_is_taken_from_the_models_card() -> None:
    """The request first, then the card, then the contract; a zero in the request is said."""
    defaults = pb.SamplingOptions(temperature=0.6, top_k=20, repetition_penalty=1.5)
    request = generate(sampling=pb.SamplingOptions(temperature=0, presence_penalty=1))
    drawn = read_generate(request, VOCABULARY, defaults).sampling

    assert (drawn.temperature, drawn.top_k, drawn.repetition_penalty) == (0.0, 20, 1.5)
    assert (drawn.top_p, drawn.min_p, drawn.presence_penalty) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("value", [0.01, 10.0])
def test_a_bound_is_what_the_fields_type_makes_of_it(value: float) -> None:
    """0.01 is no float32, and is accepted as the nearest one that the wire carries."""
    assert read(**sampling(repetition_penalty=value)).sampling.repetition_penalty == pytest.approx(value)


def test_inputs_are_told_apart() -> None:
    """Each member of the oneof has its type."""
    assert isinstance(read(**chat(message())).prompt, ChatPrompt)
    prompt = read(text=None, token_ids=pb.TokenIds(ids=[0, 99])).prompt
    assert isinstance(prompt, TokenPrompt)
    assert prompt.ids == [0, 99]


def test_without_a_limit_the_rest_of_the_context_is_taken() -> None:
    """The default of max_tokens is the room that is left."""
    assert fit_max_tokens(read(), 60, 100) == 40
    assert fit_max_tokens(read(**stopping(max_tokens=40)), 60, 100) == 40
    assert fit_max_tokens(read(**stopping(max_tokens=0)), 100, 100) == 0


@pytest.mark.parametrize(
    ("fields", "prompt", "param"),
    [
        ({}, 100, "text"),
        ({}, 5000, "text"),
        (stopping(max_tokens=0), 101, "text"),
        (stopping(max_tokens=41), 60, "stopping.max_tokens"),
    ],
)
def test_what_does_not_fit_the_context_is_refused_with_the_numbers(
    fields: dict[str, Any], prompt: int, param: str
) -> None:
    """CONTEXT_LENGTH_EXCEEDED says how long the context and how long the prompt is."""
    with pytest.raises(InferloomError) as caught:
        fit_max_tokens(read(**fields), prompt, 100)

    assert (caught.value.reason, caught.value.param) == (Reason.CONTEXT_LENGTH_EXCEEDED, param)
    assert "100" in caught.value.message
    assert str(prompt) in caught.value.message


@pytest.mark.parametrize(
    ("fields", "prompt", "sentence"),
    [
        (
            chat(message()),
            101,
            "This model's maximum context length is 100 tokens. However, your messages resulted in 101 "
            "tokens. Please reduce the length of the messages.",
        ),
        (
            chat(message()) | stopping(max_tokens=41),
            60,
            "This model's maximum context length is 100 tokens. However, you requested 101 tokens (60 in the "
            "messages, 41 in the completion). Please reduce the length of the messages or completion.",
        ),
        (
            {},
            101,
            "This model's maximum context length is 100 tokens, however you requested 101 tokens (101 in "
            "your prompt; 0 for the completion). Please reduce your prompt; or completion length.",
        ),
        (
            stopping(max_tokens=41),
            60,
            "This model's maximum context length is 100 tokens, however you requested 101 tokens (60 in your "
            "prompt; 41 for the completion). Please reduce your prompt; or completion length.",
        ),
    ],
)
def test_an_overflow_is_told_in_openais_words(fields: dict[str, Any], prompt: int, sentence: str) -> None:
    """Clients look for these sentences to know that a conversation must be cut."""
    with pytest.raises(InferloomError) as caught:
        fit_max_tokens(read(**fields), prompt, 100)

    assert caught.value.message == sentence


@pytest.mark.parametrize(
    ("fields", "prompt", "param"),
    [({}, 0, "text"), (stopping(max_tokens=5, min_tokens=6), 1, "stopping.min_tokens")],
)
def test_lengths_that_contradict_are_refused(fields: dict[str, Any], prompt: int, param: str) -> None:
    """An empty prompt, and more tokens at least than at most."""
    with pytest.raises(InferloomError) as caught:
        fit_max_tokens(read(**fields), prompt, 100)

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, param)


def test_every_parameter_that_a_card_lists_is_a_field_of_the_contract() -> None:
    """The list behind models' cards uses the contract's names."""
    fields = {
        field.name
        for group in (pb.SamplingOptions, pb.StoppingOptions, pb.OutputOptions)
        for field in group.DESCRIPTOR.fields
    }

    request = {field.name for field in pb.GenerateRequest.DESCRIPTOR.fields} & {
        *("priority", "cache_salt", "truncate_prompt_tokens", "prediction", "resume"),
    }
    assert set(honoured_by(Honour.GENERATING)) == fields | request


def embed(*inputs: pb.EmbedInput, **fields: Any) -> pb.EmbedRequest:
    """An Embed request."""
    return pb.EmbedRequest(model="m", inputs=inputs, **fields)


HI = pb.EmbedInput(text="hi")


@pytest.mark.parametrize(
    ("param", "request_"),
    [
        ("inputs", embed()),
        ("inputs", embed(*[HI] * 2049)),
        ("inputs[1]", embed(HI, pb.EmbedInput())),
        ("inputs[0].text", embed(pb.EmbedInput(text=""))),
        ("inputs[0].token_ids.ids", embed(pb.EmbedInput(token_ids=pb.TokenIds()))),
        ("inputs[0].token_ids.ids[0]", embed(pb.EmbedInput(token_ids=pb.TokenIds(ids=[VOCABULARY])))),
        ("dimensions", embed(HI, dimensions=0)),
        ("dimensions", embed(HI, dimensions=385)),
        ("request_id", embed(HI, request_id="\n")),
    ],
)
def test_an_invalid_embed_field_is_named(param: str, request_: pb.EmbedRequest) -> None:
    """As for Generate."""
    with pytest.raises(InferloomError) as caught:
        read_embed(request_, vocab_size=VOCABULARY, dimensions=384, shortens=True, normalizes=True)

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, param)


def test_vectors_are_cut_only_where_the_model_allows_it() -> None:
    """Fewer dimensions are UNSUPPORTED_PARAMETER for other models; their own number is accepted."""
    model: dict[str, Any] = {"vocab_size": VOCABULARY, "dimensions": 384, "normalizes": False}

    assert read_embed(embed(HI, dimensions=10), shortens=True, **model).dimensions == 10
    assert read_embed(embed(HI, dimensions=384), shortens=False, **model).dimensions == 384
    with pytest.raises(InferloomError) as caught:
        read_embed(embed(HI, dimensions=10), shortens=False, **model)
    assert caught.value.reason is Reason.UNSUPPORTED_PARAMETER


@pytest.mark.parametrize("own", [False, True])
def test_normalising_follows_the_request_then_the_model(own: bool) -> None:
    """Absent means what the model does by itself."""
    model: dict[str, Any] = {"vocab_size": VOCABULARY, "dimensions": 4, "shortens": False, "normalizes": own}

    assert read_embed(embed(HI), **model).normalize is own
    assert read_embed(embed(HI, normalize=not own), **model).normalize is not own
