"""How a model speaks of tools is found in its template; conversations and answers pass in its words."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.hosting.capabilities import read_by
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.text.pool import TextPool
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.validate.generate import read_generate
from tests.worker.heard import Heard, heard
from tests.worker.tool_templates import TEMPLATES

SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
WEATHER = pb.Tool(name="weather", description="Tells it.", parameters_json_schema=SCHEMA)
CODE = pb.Tool(name="code", description="Runs it.", custom=pb.CustomTool(regex="[a-z]+"))
CALL = pb.ToolCall(id="call_1", name="weather", arguments='{"city": "Köln"}')


def dialect(source: str, **formats: str) -> Dialect:
    """That of a model with this template."""
    template = ChatTemplate(source, {})
    template.check()
    return Dialect(template, bytes_tokenizer(), **formats)


def turn(role: "pb.Role.ValueType", **part: Any) -> pb.ChatMessage:
    """A turn of one part, or of none."""
    return pb.ChatMessage(role=role, parts=[pb.ContentPart(**part)] if part else [])


def asked(*tools: pb.Tool, call: pb.ToolCall = CALL, **fields: Any) -> pb.ChatInput:
    """A conversation in which there was a call."""
    result = pb.ToolResult(tool_call_id=call.id, content="Sunny.")
    messages = [
        turn(pb.ROLE_USER, text="Hello?"),
        turn(pb.ROLE_ASSISTANT, tool_call=call),
        turn(pb.ROLE_TOOL, tool_result=result),
    ]
    return pb.ChatInput(messages=messages, tools=tools, **fields)


def rendered(name: str, chat: pb.ChatInput) -> str:
    """The prompt."""
    found, template = dialect(TEMPLATES[name]), ChatTemplate(TEMPLATES[name], {})
    turns, tools = found.turns(chat)
    return template.render(turns, tools=tools)


def said(source: str, chat: pb.ChatInput, prompt: str, *pieces: str) -> Heard:
    """What is made of an answer."""
    (*readers,) = dialect(source).reading(chat, prompt, 7).parsers(0)
    whole = Heard()
    for each in readers:
        parts = [*map(heard, map(each.push, pieces)), heard(each.flush())]
        whole.reasoning += "".join(part.reasoning for part in parts)
        whole.tool_calls += [call for part in parts for call in part.tool_calls]
        pieces = tuple(part.text for part in parts)
    whole.text = "".join(pieces)
    return whole


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_form_of_calls_is_what_the_template_writes(name: str) -> None:
    """Each family by its own marks, and whatever it wants for arguments, content and ids."""
    assert dialect(TEMPLATES[name]).form.name == name


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_the_template_writes_is_read_as_the_call_that_it_was(name: str) -> None:
    """A call goes into a prompt and comes out of the same words."""
    prompt = rendered(name, asked(WEATHER))
    written = prompt.split("<a>")[1].split("<e>")[0]

    found = said(TEMPLATES[name], asked(WEATHER), "", *written)
    assert [(call.name, json.loads(call.arguments)) for call in merged(found.tool_calls)] == [
        ("weather", {"city": "Köln"})
    ]
    assert "Sunny." in prompt
    assert '"city"' in prompt  # the tool is described


def test_ids_of_calls_are_numbered_where_the_template_wants_that() -> None:
    """In place of names; what a call returned is told by the same."""
    chat = asked(WEATHER)
    for message in list(chat.messages[1:]):
        chat.messages.add().CopyFrom(message)
        chat.messages[-1].parts[0].tool_call.id = "call_2" if message.role == pb.ROLE_ASSISTANT else ""
        if message.role == pb.ROLE_TOOL:
            chat.messages[-1].parts[0].tool_result.CopyFrom(pb.ToolResult(tool_call_id="call_2", content="x"))
    turns, _ = dialect(TEMPLATES["kimi-k2"]).turns(chat)

    ids = [call["id"] for turn in turns for call in turn.get("tool_calls", ())]
    assert ids == ["functions.weather:0", "functions.weather:1"]
    assert [turn["tool_call_id"] for turn in turns if turn["role"] == "tool"] == ids


HARMONY = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes."


def test_channels_are_read_without_tools_too() -> None:
    """They are how such a model speaks; one whose template writes no calls is known by its reasoning."""
    plain = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="Hi")])
    silent = TEMPLATES["generic"] + "{# <|channel|>analysis<|message|> #}"

    for source in (TEMPLATES["harmony"] + "{# <|channel|>analysis<|message|> #}", silent):
        assert dialect(source).form.name == "harmony"
        assert said(source, plain, "", *HARMONY) == Heard("Yes.", "Hm.")


def merged(parts: Sequence[pb.ToolCallDelta]) -> list[pb.ToolCall]:
    """Calls of their parts."""
    calls: dict[int, pb.ToolCall] = {}
    for part in parts:
        call = calls.setdefault(part.index, pb.ToolCall(id=part.id, name=part.name, custom=part.custom))
        call.arguments += part.arguments
    return list(calls.values())


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("arguments", ['{"city": "Kö', "[1]", "null", "7", "Köln"])
def test_a_call_that_was_cut_off_does_not_end_its_conversation(name: str, arguments: str) -> None:
    """Clients send it again with every turn: it is read as it was, in an object where one is needed."""
    chat = asked(WEATHER, call=pb.ToolCall(id="c", name="weather", arguments=arguments))
    prompt = rendered(name, chat)

    assert "Sunny." in prompt
    assert arguments in prompt.replace('\\"', '"')


@pytest.mark.parametrize("name", ["hermes", "generic"])
def test_halves_of_characters_do_not_reach_the_prompt(name: str) -> None:
    """JSON can write them, in a call's arguments and in a tool's schema; no text can have them."""
    half, whole = r'"\\\ud800\ud800"', r'"\ud83d\ude00"'
    call = pb.ToolCall(id="c", name="weather", arguments=f'{{"a": {half}, "b": {whole}}}')
    tool = pb.Tool(name="weather", parameters_json_schema=f'{{"description": {half}, "title": {whole}}}')
    prompt = rendered(name, asked(tool, call=call))

    bytes_tokenizer().encode(prompt, add_special_tokens=False)
    assert "\ufffd" in prompt or r"\ufffd" in prompt


def test_a_template_of_another_form_is_told_of_tools_in_words() -> None:
    """It lists tools, but writes calls in a way that nobody here reads."""
    other = TEMPLATES["hermes"].replace("tool_call>", "zork>")

    assert dialect(other).form.name == "generic"
    turns, tools = dialect(other).turns(asked(WEATHER))
    assert tools == []
    assert "<tool_call>" in turns[0]["content"]


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v31", "hermes", "pythonic"])
def test_a_template_that_only_writes_calls_is_told_of_tools_in_its_own_form(name: str) -> None:
    """As DeepSeek's are: they leave it to the system's turn to say what there is."""
    source = TEMPLATES[name].replace("{% if tools %}", "{% if false %}")
    found = dialect(source)
    turns, tools = found.turns(asked(WEATHER))

    assert (found.form.name, tools) == (name, [])
    assert '"Tells it."' in turns[0]["content"]
    assert found.form.spelled([("function_name", '{"parameter": "value"}')]) in turns[0]["content"]
    assert "tool_calls" in turns[2]


def test_a_form_that_the_template_does_not_write_is_spelled_for_it() -> None:
    """As an operator may ask for it. What was no JSON object stays what it was."""
    named = dialect(TEMPLATES["generic"], tool_format="pythonic")
    broken = pb.ToolCall(id="c", name="weather", arguments="Köln")

    assert named.turns(asked(WEATHER))[0][2]["content"] == '[weather(city="Köln")]'
    assert named.turns(asked(WEATHER, call=broken))[0][2]["content"] == "[weather(Köln)]"


@pytest.mark.parametrize("name", ["hermes", "generic"])
def test_tools_that_take_free_text_are_described_in_words(name: str) -> None:
    """No template knows them. Their calls are text of ours, read back as calls."""
    call = pb.ToolCall(id="c", name="code", arguments='print("</tool_call>")', custom=True)
    prompt = rendered(name, asked(WEATHER, CODE, call=call))

    assert '{"name": "code", "description": "Runs it.", "grammar": "[a-z]+"}' in prompt
    written = prompt.split("<a>")[1].split("<e>")[0]
    (found,) = merged(said(TEMPLATES[name], asked(WEATHER, CODE), "", *written).tool_calls)
    assert (found.name, found.arguments, found.custom) == ("code", call.arguments, True)


def test_a_template_without_a_system_turn_hears_of_tools_from_the_user() -> None:
    """Where the system's turn is refused, too."""
    source = TEMPLATES["generic"].replace(
        "%}<{{", "%}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}<{{", 1
    )
    turns, _ = dialect(source).turns(asked(WEATHER))

    assert [each["role"] for each in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"].endswith("\n\nHello?")


def test_what_several_calls_returned_is_one_turn() -> None:
    """With what the user says then; turns without tools stay as they are."""
    chat = asked(WEATHER)
    chat.messages.add().CopyFrom(chat.messages[2])
    chat.messages.append(turn(pb.ROLE_USER, text="Well?"))
    turns, _ = dialect(TEMPLATES["generic"]).turns(chat)

    assert [each["role"] for each in turns] == ["system", "user", "assistant", "user"]
    assert turns[-1]["content"].count("Sunny.") == 2
    plain = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="a"), turn(pb.ROLE_USER, text="b")])
    assert dialect(TEMPLATES["generic"]).turns(plain)[0] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ]


def test_without_a_choice_of_tools_nothing_is_read() -> None:
    """None of them, or no tools: a call's text is text, and the prompt has no tools."""
    none = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)
    text = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'

    for chat in (asked(WEATHER, tool_choice=none), asked()):
        assert said(TEMPLATES["hermes"], chat, "", text) == Heard(text)
        assert "Tells it." not in rendered("hermes", chat)


def test_only_tools_that_are_allowed_are_called() -> None:
    """The others stay in the prompt."""
    only = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO, allowed_names=["other"])
    chat = asked(WEATHER, pb.Tool(name="other"), tool_choice=only)
    text = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'

    assert said(TEMPLATES["hermes"], chat, "", text) == Heard(text)
    assert "Tells it." in rendered("hermes", chat)


def test_ids_of_calls_derive_from_seed_choice_and_index() -> None:
    """The same again for the same; unlike for others."""
    text = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>' * 2
    reading = dialect(TEMPLATES["hermes"]).reading(asked(WEATHER), "", 7)

    read = [heard(reading.parsers(choice)[0].push(text)) for choice in (0, 0, 1)]
    ids = [[call.id for call in found.tool_calls] for found in read]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4
    assert all(call_id.startswith("call_") for call_id in ids[0])


THINKING = """{% for m in messages %}{{ m.content }}{% endfor %}
{% if enable_thinking %}<think>{% endif %}{# </think> #}"""


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("Hi<think>\n", "Hm.\n</think>\n\nYes.", Heard("Yes.", "Hm.")),
        ("Hi", "<think>\nHm.\n</think>\n\nYes.", Heard("Yes.", "Hm.")),
        ("Hi", "Yes.", Heard("Yes.")),
        ("<think>Hi", "Yes.", Heard("Yes.")),
    ],
)
def test_reasoning_is_told_apart_wherever_it_was_begun(prompt: str, text: str, expected: Heard) -> None:
    """In the prompt, or by the model."""
    chat = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="Hi")])

    assert said(THINKING, chat, prompt, *text) == said(THINKING, chat, prompt, text) == expected


def test_formats_can_be_named() -> None:
    """Against what the template shows."""
    named = dialect(TEMPLATES["hermes"], tool_format="generic", reasoning_format="brackets")

    assert (named.form.name, named.reasoning and named.reasoning.begin) == ("generic", "[THINK]")
    assert dialect(THINKING, reasoning_format="none").reasoning is None


@pytest.mark.parametrize(
    ("source", "given", "expected"),
    [
        (
            "{{ messages[0].content }}{{ reasoning_effort }}",
            {"reasoning_effort": "low"},
            {"reasoning_effort": "low"},
        ),
        (THINKING, {"reasoning_effort": "none"}, {"enable_thinking": False}),
        ("{{ messages[0].content }}", {"reasoning_effort": "none", "verbosity": "low"}, {"verbosity": "low"}),
    ],
)
def test_an_effort_is_a_variable_where_the_template_reads_it(
    source: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """No effort is what a template without that word makes anyway."""
    chat = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="Hi")])
    chat.template.variables.update(given)

    assert dialect(source).variables(chat) == expected


@pytest.mark.parametrize(
    "source",
    [*TEMPLATES.values(), THINKING, "{{ messages[0].content }}{{ reasoning_effort }}{{ verbosity }}"],
)
def test_a_card_lists_an_effort_where_it_is_not_refused(source: str) -> None:
    """And a verbosity where it has an effect."""
    chat = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="Hi")])
    chat.template.variables.update({"reasoning_effort": "high", "verbosity": "low"})
    listed = read_by(ChatTemplate(source, {}).variables)

    if "reasoning_effort" in listed:
        dialect(source).variables(chat)
    else:
        with pytest.raises(InferloomError):
            dialect(source).variables(chat)
    assert ("verbosity" in listed) is ("verbosity" in source)


def test_an_effort_that_the_template_does_not_read_is_refused() -> None:
    """It would be dropped in silence."""
    chat = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="Hi")])
    chat.template.variables.update({"reasoning_effort": "high"})
    with pytest.raises(InferloomError) as caught:
        dialect(TEMPLATES["hermes"]).variables(chat)

    assert caught.value.reason is Reason.UNSUPPORTED_PARAMETER


class Noting(TextPool):
    """Notes whose work it does, and what goes to a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants: set[str] = set()
        self.threaded: list[str] = []

    async def run(self, param: str, work: Any, **how: Any) -> Any:
        self.tenants.add(how.get("tenant", ""))
        if not how.get("quick"):
            self.threaded.append(param)
        return await super().run(param, work, **how)


@pytest.mark.parametrize(
    ("name", "threaded"),
    [("qwen3-coder", ["chat.messages", "chat.messages", "chat.tools"]), ("hermes", ["chat.messages"] * 2)],
)
async def test_work_on_texts_is_its_tenants(name: str, threaded: list[str]) -> None:
    """All of it: what a tenant has no turn for waits behind everybody's. Schemas are read on a thread, where
    they are read at all."""
    model, texts = load_model("m", "echo", LoadOptions()), Noting()
    assert isinstance(model, Generator)
    model.template, model.dialect = ChatTemplate(TEMPLATES[name], {}), dialect(TEMPLATES[name])
    tool = pb.Tool(name="weather", description="Tells it. " * 200, parameters_json_schema=SCHEMA)
    request = pb.GenerateRequest(model="m", chat=asked(tool), output=pb.OutputOptions(prompt_token_ids=True))
    answer = await model.answer(read_generate(request, 259), Terms(tenant="his"), texts)
    answer.abort()
    assert (texts.tenants, texts.threaded) == ({"his"}, threaded)
    texts.close()
    model.close()
