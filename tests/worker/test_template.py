"""Chat templates."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.text.messages import template_messages, template_tools, template_variables
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer

HELLO = [{"role": "user", "content": "Hello"}]


def turn(role: pb.Role.ValueType, *parts: pb.ContentPart, name: str = "") -> pb.ChatMessage:
    """One turn."""
    return pb.ChatMessage(role=role, parts=parts, name=name)


def said(text: str) -> pb.ContentPart:
    """A part of text."""
    return pb.ContentPart(text=text)


def test_a_prompt_equals_that_of_transformers(smollm_file: Path, smollm_tokenizer: Tokenizer) -> None:
    """The demo model's conversation is rendered and tokenised as transformers does it."""
    chat = [
        {"role": "system", "content": "Be brief."},
        *HELLO,
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "Capital of France?"},
    ]
    reference = AutoTokenizer.from_pretrained(smollm_file.parent, gguf_file=smollm_file.name)
    template = ChatTemplate(smollm_tokenizer.chat_template or "", smollm_tokenizer.special_tokens)
    ids = smollm_tokenizer.encode(template.render(chat), add_special_tokens=False)

    assert reference.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] == ids


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[0].content.missing.more }}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}",
        "{% for %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ 'x' * 20000000 }}",
    ],
)
def test_a_template_that_fails_is_the_requests_error(source: str) -> None:
    """Refusals, faults, escapes from the sandbox and huge prompts are all INVALID_ARGUMENT."""
    with pytest.raises(InferloomError) as caught:
        ChatTemplate(source, {}).render(HELLO)

    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, "chat.messages")


def test_a_refusal_is_passed_on_in_the_templates_words() -> None:
    """What a template says by raise_exception reaches the caller."""
    with pytest.raises(InferloomError, match="roles must alternate"):
        ChatTemplate("{{ raise_exception('roles must alternate') }}", {}).render(HELLO)


def test_a_template_that_is_no_template_is_found_when_loading() -> None:
    """A syntax error is a ValueError of the check; a template that refuses a sample conversation passes."""
    with pytest.raises(ValueError, match="not valid"):
        ChatTemplate("{% for %}", {}).check()
    ChatTemplate("{{ raise_exception('no') }}", {}).check()


def test_variables_and_special_tokens_reach_the_template() -> None:
    """A request's variables win over the model's special tokens."""
    template = ChatTemplate("{{ bos_token }}{{ mood }}{{ add_generation_prompt }}", {"bos_token": "<s>"})

    assert template.render(HELLO, variables={"mood": "calm"}) == "<s>calmTrue"
    assert template.render(HELLO, variables={"bos_token": "!"}, add_generation_prompt=False) == "!False"


def test_the_final_message_can_be_continued() -> None:
    """The prompt ends where the last turn's text ends; without such text it is the request's error."""
    template = ChatTemplate("{% for m in messages %}[{{ m.content }}]{% endfor %}", {})

    assert template.render(HELLO, add_generation_prompt=False, continue_final_message=True) == "[Hello"
    with pytest.raises(InferloomError) as caught:
        ChatTemplate("fixed", {}).render(HELLO, continue_final_message=True)
    assert caught.value.param == "chat.template.continue_final_message"


def test_turns_become_what_templates_read() -> None:
    """Text parts are joined; calls, results, reasoning and names keep their places."""
    call = pb.ToolCall(id="c1", name="add", arguments='{"a": 1}')
    chat = pb.ChatInput(
        messages=[
            turn(pb.ROLE_SYSTEM, said("Be "), said("brief.")),
            turn(pb.ROLE_USER, said("1+1?"), name="ann"),
            turn(pb.ROLE_ASSISTANT, pb.ContentPart(reasoning="hm"), pb.ContentPart(tool_call=call)),
            turn(
                pb.ROLE_TOOL,
                pb.ContentPart(tool_result=pb.ToolResult(tool_call_id="c1", content="2")),
                pb.ContentPart(tool_result=pb.ToolResult(tool_call_id="c2", content="3")),
            ),
        ]
    )
    expected: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?", "name": "ann"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2", "name": "add"},
        {"role": "tool", "tool_call_id": "c2", "content": "3"},
    ]

    assert expected == template_messages(chat, knows_developer=False)


@pytest.mark.parametrize(("knows", "role"), [(True, "developer"), (False, "system")])
def test_a_developer_speaks_as_system_where_the_template_has_no_word_for_it(knows: bool, role: str) -> None:
    """Older templates know only system."""
    chat = pb.ChatInput(messages=[turn(pb.ROLE_DEVELOPER, said("x"))])

    assert template_messages(chat, knows_developer=knows)[0]["role"] == role


@pytest.mark.parametrize("arguments", ["not json", "[1]", "[" * 100_000])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    """What a model wrote is passed back as it was."""
    part = pb.ContentPart(tool_call=pb.ToolCall(id="c", name="f", arguments=arguments))
    chat = pb.ChatInput(messages=[turn(pb.ROLE_ASSISTANT, part)])

    (message,) = template_messages(chat, knows_developer=False)
    assert message["tool_calls"][0]["function"]["arguments"] == arguments


def test_tools_get_openais_envelope() -> None:
    """A function without a schema takes an object without properties."""
    now, add = template_tools([pb.Tool(name="now"), pb.Tool(name="add", parameters_json_schema='{"a": 1}')])

    empty: dict[str, Any] = {"type": "object", "properties": {}}
    assert now["function"]["parameters"] == empty
    assert add == {
        "type": "function",
        "function": {"name": "add", "description": "", "parameters": {**empty, "a": 1}},
    }


def test_variables_become_plain_values() -> None:
    """Whole numbers are integers again; a number that is not finite is refused."""
    variables = Struct()
    values: dict[str, Any] = {"n": 3, "x": 0.5, "deep": {"list": [1, "a", None, True]}}
    variables.update(values)
    chat = pb.ChatInput(template=pb.TemplateOptions(variables=variables))

    assert values == template_variables(chat)
    chat.template.variables["x"] = float("nan")
    with pytest.raises(InferloomError):
        template_variables(chat)


CORPUS = {
    "generation marks": "{% for m in messages %}{% generation %}{% set x = m.content %}{{ x }}"
    "{% endgeneration %}{{ x is defined }}{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}"
    "{% endfor %}",
    "namespaces": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ ns.n }}",
    "json": "{{ tools | tojson }}{{ messages | tojson(indent=2) }}{{ 'ü<' | tojson }}",
    "dictionaries": "{{ dict(a=1)['a'] }}{{ (dict(b=2) | items | list)[0][0] }}",
    "whitespace": "{% for m in messages %}\n  {{ m.role }}: {{ m.content | trim }}\n{% endfor %}\nend",
    "trimmed": "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}",
    "reasoning": "{% for m in messages %}{{ m.thinking or '' }}{{ m.reasoning_content or '' }}{% endfor %}",
    "variables": "{{ bos_token }}{{ add_generation_prompt }}{{ tools is none }}{{ documents is none }}",
}


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("continued", [False, True])
def test_templates_mean_here_what_they_mean_in_transformers(name: str, continued: bool) -> None:
    """Every name, tag and filter that it gives to templates, and the cut of a continued message."""
    from transformers.utils.chat_template_utils import render_jinja_template

    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "Hello "},
        {"role": "assistant", "content": "Hi ü ", "reasoning_content": "A greeting."},
    ]
    try:
        (expected,), _ = render_jinja_template(
            [chat],
            chat_template=CORPUS[name],
            add_generation_prompt=not continued,
            continue_final_message=continued,
            bos_token="<s>",
        )
    except ValueError:
        expected = None
    template = ChatTemplate(CORPUS[name], {"bos_token": "<s>"})
    if expected is None:
        with pytest.raises(InferloomError, match="cannot be continued"):
            template.render(chat, add_generation_prompt=False, continue_final_message=True)
    else:
        actual = template.render(chat, add_generation_prompt=not continued, continue_final_message=continued)
        assert expected == actual


PARTS = (
    "{% for m in messages %}<{{ m.role }}>"
    "{% for part in m.content %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}"
)
FIRST_PART = "{% for m in messages %}{{ m.role }}: {{ m.content[0].text }}\n{% endfor %}"
MIXED = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ m.content[0]['text'] }}"
    "{% else %}[{{ m.content | trim }}]{% endif %}{% endfor %}"
)
EITHER = (
    "{% for m in messages %}{% if m.content is string %}S{{ m.content }}"
    "{% else %}P{{ m.content[0]['text'] }}{% endif %}{% endfor %}"
)
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": ""},
    {"role": "tool", "content": "2"},
]


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        (PARTS, "<system>Be brief.<user>Hi<assistant><tool>2"),
        (FIRST_PART, "system: Be brief.\nuser: Hi\nassistant: \ntool: 2\n"),
        (MIXED, "[Be brief.]Hi[][2]"),
        (EITHER, "SBe brief.SHiSS2"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "BE BRIEF.HI2"),
    ],
    ids=["parts", "first part", "parts of the user", "either", "other letters"],
)
def test_what_is_said_is_given_in_the_form_that_the_template_reads(source: str, prompt: str) -> None:
    """As text, or as a list of parts where it says nothing of a text; found out at load, for each role."""
    template = ChatTemplate(source, {})
    template.check()

    assert template.render(SAID) == prompt


def test_the_final_message_can_be_continued_in_parts() -> None:
    """As in templates that take text."""
    template = ChatTemplate(PARTS + "</s>", {})
    template.check()

    assert template.render(HELLO, add_generation_prompt=False, continue_final_message=True) == "<user>Hello"


def test_a_template_that_leaves_out_the_user_is_refused_at_load() -> None:
    """In either form: each answer would be to something else."""
    with pytest.raises(ValueError, match="leaves out what the user says"):
        ChatTemplate("{{ messages[0].role }}", {}).check()


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{% generation %}{% set x = 1 %}a{% endgeneration %}{{ x }}", "a"),
        ("{% for m in messages %}x{% break %}{% endfor %}", "x"),
        ("{{ {'a': '<ü>'} | tojson }}{{ [1] | tojson(indent=1) }}", '{"a": "<ü>"}[\n 1\n]'),
        ("{% set ns = namespace(self=1, n=2) %}{% set ns.n = 3 %}{{ ns.self + ns.n }}", "4"),
        ("{{ dict(a=1).a }}{{ dict.fromkeys(['b'], 2).b }}", "12"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("  {% if true %}\n  x\n  {% endif %}\ny", "  x\ny"),
        ("{{ documents is none }}{{ tools is none }}", "TrueTrue"),
    ],
)
def test_the_environment_is_that_of_transformers(source: str, prompt: str) -> None:
    """Blocks, filters and functions that templates on the hub are written with."""
    (expected,), _ = render_jinja_template([HELLO], chat_template=source)

    assert expected == ChatTemplate(source, {}).render(HELLO) == prompt


@pytest.mark.parametrize("trim", ["", " | trim"])
@pytest.mark.parametrize("said", ["Hello", "Hello  ", "  Hello\n"])
def test_a_continued_message_ends_as_in_transformers(said: str, trim: str) -> None:
    """With the spaces that the template leaves."""
    source = "{% for m in messages %}[{{ m.content" + trim + " }}]{% endfor %}"
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": said}]
    (expected,), _ = render_jinja_template([chat], chat_template=source, continue_final_message=True)

    assert expected == ChatTemplate(source, {}).render(chat, continue_final_message=True)
