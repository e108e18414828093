"""Calls are read out of what models say, in the words of their own templates, however the text is cut."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom_mesh.tool_name import LONGEST_TOOL_NAME
from inferloom_worker.output.calls.form import ToolForm
from inferloom_worker.output.calls.forms import BY_NAME, FORMS
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.reader import CUSTOM_BEGIN, CUSTOM_END, CUSTOM_NAMED, CallReader
from tests.worker.heard import heard

TOOLS = {"find-city": False, "now": False, "code": True}
"""By name, whether a tool takes free text."""

NASTY = 'Köln "}</tool_call>\n<｜tool▁call▁end｜>[TOOL_CALLS]{\\ 日本 😀'
ARGUMENTS = {"name": NASTY, "near": [1, -2.5, None, {"deep": [True]}], "": {}}
OBJECT = json.dumps(ARGUMENTS, ensure_ascii=False)
PYTHON = ", ".join(f"{key or 'none'}={value!r}" for key, value in ARGUMENTS.items())


@dataclass
class Read:
    """What came out of a text."""

    text: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Id, name and arguments of each."""


def read(form: str, *pieces: str, most: int | None = None, schemas: Mapping[str, Any] | None = None) -> Read:
    """Read a text that comes in these pieces."""
    reader: CallReader = BY_NAME[form].reader(Offer(TOOLS, lambda index: f"id{index}", most, schemas or {}))
    found = Read()
    for said in map(heard, (*map(reader.push, pieces), reader.flush())):
        found.text += said.text
        for delta in said.tool_calls:
            if delta.index == len(found.calls):
                found.calls.append((delta.id, delta.name, ""))
            else:
                assert (delta.id, delta.name) == ("", "")
            call_id, name, arguments = found.calls[delta.index]
            found.calls[delta.index] = (call_id, name, arguments + delta.arguments)
            assert delta.custom is TOOLS[name]
    return found


def letters(text: str) -> Sequence[str]:
    """A text cut at every character."""
    return list(text)


DEEPSEEK = "<｜tool▁calls▁begin｜>{}<｜tool▁calls▁end｜>"
NEAR = json.dumps(ARGUMENTS["near"])
TRANSCRIPTS = {
    "qwen3-coder": (
        f"<tool_call>\n<function=find-city>\n<parameter=name>\n{NASTY}\n</parameter>\n"
        f"<parameter=near>\n{NEAR}\n</parameter>\n<parameter=>\n{{}}\n</parameter>\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=now>\n</function>\n</tool_call>"
    ),
    "seed": (
        f"<seed:tool_call>\n<function=find-city>\n<parameter=name>{NASTY}</parameter>\n"
        f"<parameter=near>{NEAR}</parameter>\n<parameter=>{{}}</parameter>\n</function>\n</seed:tool_call>\n"
        "<seed:tool_call><function=now></function></seed:tool_call>"
    ),
    "glm45": (
        f"<tool_call>find-city\n<arg_key>name</arg_key>\n<arg_value>{NASTY}</arg_value>\n"
        f"<arg_key>near</arg_key>\n<arg_value>{NEAR}</arg_value>\n<arg_key></arg_key>\n<arg_value>{{}}</arg_value>\n"
        "</tool_call>\n<tool_call>now\n</tool_call>"
    ),
    "glm47": (
        f"<tool_call>find-city<arg_key>name</arg_key><arg_value>{NASTY}</arg_value>"
        f"<arg_key>near</arg_key><arg_value>{NEAR}</arg_value><arg_key></arg_key><arg_value>{{}}</arg_value>"
        "</tool_call><tool_call>now</tool_call>"
    ),
    "minimax-m2": (
        f'<minimax:tool_call>\n<invoke name="find-city">\n<parameter name="name">{NASTY}</parameter>\n'
        f'<parameter name="near">{NEAR}</parameter>\n<parameter name="">{{}}</parameter>\n</invoke>\n'
        '<invoke name="now">\n</invoke>\n</minimax:tool_call>'
    ),
    "minimax-m1": (
        f'<tool_calls>\n{{"name": "find-city", "arguments": {OBJECT}}}\n'
        '{"name": "now", "arguments": {}}\n</tool_calls>'
    ),
    "kimi-k2": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.find-city:0"
        f"<|tool_call_argument_begin|>{OBJECT}<|tool_call_end|><|tool_call_begin|>functions.now:1"
        "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "harmony": (
        f"<|channel|>commentary to=functions.find-city <|constrain|>json<|message|>{OBJECT}<|call|>"
        "<|start|>assistant to=functions.now<|channel|>commentary json<|message|>{}<|call|>"
    ),
    "hermes": (
        f'<tool_call>\n{{"name": "find-city", "arguments": {OBJECT}}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    ),
    "generic": (
        f'<tool_call>\n{{"arguments": {OBJECT}, "name": "find-city"}}\n</tool_call>\n'
        '<tool_call>\n[{"name": "now"}]\n</tool_call>'
    ),
    "llama3": f'{{"name": "find-city", "parameters": {OBJECT}}}; {{"name": "now", "parameters": {{}}}}',
    "mistral": (
        f'[TOOL_CALLS] [{{"name": "find-city", "arguments": {OBJECT}, "id": "abcdefghi"}}, '
        '{"name": "now", "arguments": {}}]'
    ),
    "mistral-args": f"[TOOL_CALLS]find-city[CALL_ID]abcdefghi[ARGS]{OBJECT}[TOOL_CALLS]now[ARGS]{{}}",
    "mistral-bare": f"[TOOL_CALLS]find-city{OBJECT}[TOOL_CALLS]now{{}}",
    "deepseek-v3": DEEPSEEK.format(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>find-city\n```json\n{OBJECT}\n```<｜tool▁call▁end｜>\n"
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
    ),
    "deepseek-v31": DEEPSEEK.format(
        f"<｜tool▁call▁begin｜>find-city<｜tool▁sep｜>{OBJECT}<｜tool▁call▁end｜>"
        "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
    ),
    "pythonic": f"[find-city({PYTHON}), now()]",
    "llama4": f"<|python_start|>[find-city({PYTHON}), now()]<|python_end|>",
    "gemma-code": f"```tool_code\nprint(find-city({PYTHON}))\nnow()\n```",
    "gemma": (
        f"<start_function_call>call:find-city{{name:<escape>{NASTY}<escape>,"
        "near:[1,-2.5,null,{deep:[true]}],none:{}}<end_function_call>"
        "<start_function_call>call:now{}<end_function_call>"
    ),
    "gemma4": (
        f'<|tool_call>call:find-city{{name:<|"|>{NASTY}<|"|>,near:[1,-2.5,null,{{deep:[true]}}],none:{{}}}}'
        "<tool_call|><|tool_call>call:now{}<tool_call|>"
    ),
}


def test_every_form_has_a_transcript() -> None:
    """A form that is added is tested."""
    assert set(BY_NAME) == {form.name for form in FORMS} == set(TRANSCRIPTS)


@pytest.mark.parametrize("form", TRANSCRIPTS)
def test_calls_are_read_however_they_are_cut(form: str) -> None:
    """Whole, at every place in two, and character by character: quotes, braces, marks in strings, unicode."""
    text = TRANSCRIPTS[form]
    whole = read(form, text)

    assert whole.text == ""
    assert [call[:2] for call in whole.calls] == [("id0", "find-city"), ("id1", "now")]
    expected = {key or ("none" if PYTHON_KEYS[form] else ""): value for key, value in ARGUMENTS.items()}
    assert [json.loads(call[2]) for call in whole.calls] == [expected, {}]
    assert all(read(form, text[:cut], text[cut:]) == whole for cut in range(len(text)))
    assert read(form, *letters(text)) == whole


PYTHON_KEYS = {form: form in ("pythonic", "llama4", "gemma-code", "gemma", "gemma4") for form in TRANSCRIPTS}
"""Forms that have no empty key."""


@pytest.mark.parametrize("form", TRANSCRIPTS)
def test_a_text_that_breaks_off_says_the_same_however_it_was_cut(form: str) -> None:
    """At every place, as where the most tokens were reached: nothing depends on the pieces."""
    text = TRANSCRIPTS[form]

    for end in range(len(text)):
        assert read(form, *letters(text[:end])) == read(form, text[:end])


@pytest.mark.parametrize("form", TRANSCRIPTS)
def test_text_around_calls_stays(form: str) -> None:
    """Before and after. Where nothing marks a call, it stands first."""
    text = TRANSCRIPTS[form]
    before = "" if form in ("pythonic", "llama3") else "Let me see.\n\n"

    found = read(form, f"{before}{text}\nDone.")
    assert (found.text, len(found.calls)) == (f"{before}\nDone.", 2)


@pytest.mark.parametrize("form", TRANSCRIPTS)
def test_an_answer_ends_with_the_only_call_that_there_may_be(form: str) -> None:
    """What follows is not read, in the same piece or in a later one."""
    text = TRANSCRIPTS[form]

    found = read(form, text, most=1)
    assert ([name for _, name, _ in found.calls], found.text) == (["find-city"], "")
    assert read(form, *letters(text), most=1) == found


LOOKALIKES = {
    "hermes": [
        "Write <tool_call> and </tool_call>.",
        '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "now", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": 1}</tool_call>',
        '<tool_call>{"city": "Rome"}</tool_call>',
        '<tool_call>{"name": "code", "arguments": {}}</tool_call>',
        '<custom_tool_call name="now">\nx\n</custom_tool_call>',
        "a < b, and <tool",
    ],
    "llama3": ['{"city": "Rome"}', '{"name": "unknown", "parameters": {}}', "{", "Hi {"],
    "mistral": ["[TOOL_CALLS] none", '[TOOL_CALLS] [{"name": "unknown"}]'],
    "mistral-args": ["[TOOL_CALLS]unknown[ARGS]{}", "[TOOL_CALLS]now[ARGS]"],
    "deepseek-v3": [
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>unknown\n```json\n{}\n```",
        "<｜tool▁call▁begin｜>",
    ],
    "qwen3-coder": [
        "Write <tool_call> and <function=unknown>.",
        "<tool_call>\n<function=unknown>\n</function>\n</tool_call>",
        '<tool_call>{"name": "now", "arguments": {}}</tool_call>',
    ],
    "glm45": ["<tool_call> and </tool_call>", "<tool_call>unknown\n</tool_call>", "<tool_call>now"],
    "minimax-m2": ['<minimax:tool_call>\n<invoke name="unknown">\n</invoke>\n', "<minimax:tool_call>"],
    "minimax-m1": ['<tool_calls>\n{"name": "unknown", "arguments": {}}\n</tool_calls>', "<tool_calls>"],
    "kimi-k2": [
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.unknown:0<|tool_call_argument_begin|>{}",
        "<|tool_call_begin|>now",
    ],
    "harmony": ["<|channel|>", "<|start|> of <|message|> it", " to=functions.now"],
    "pythonic": [
        "[1, 2] is a list",
        "[unknown()]",
        "[now(1)]",
        "[now(a=b)]",
        "[now(a=1_0)]",
        "[now(a=1e999)]",
    ],
    "gemma": ["<start_function_call>call:unknown{}", "<start_function_call>call:now{1:2}"],
    "gemma-code": ["```python\nnow()\n```", "```tool_code\nunknown()\n```"],
}


@pytest.mark.parametrize(
    ("form", "text"), [(form, text) for form, texts in LOOKALIKES.items() for text in texts]
)
def test_what_only_looks_like_a_call_is_text(form: str, text: str) -> None:
    """Not a character is lost."""
    assert read(form, text) == read(form, *letters(text)) == Read(text)


def test_a_call_behind_one_that_is_none_is_found() -> None:
    """What began like a call is searched again."""
    real = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'

    found = read("hermes", f'<tool_call>{{"name": "x"}} {real}')
    assert (found.text, [name for _, name, _ in found.calls]) == ('<tool_call>{"name": "x"} ', ["now"])


@pytest.mark.parametrize("broken", ['{"a": oops}', '{"a": 1,}', '{"a": "\n"}', '{"a" 1}', '{"a": 01}'])
def test_arguments_that_are_no_json_come_as_the_model_wrote_them(broken: str) -> None:
    """The call had begun: its arguments reach to its end."""
    found = read("hermes", f'<tool_call>{{"name": "now", "arguments": {broken}}}</tool_call> Then.')

    assert found == Read(" Then.", [("id0", "now", f"{broken}}}")])


MALFORMED = {
    "mistral-args": ("[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{} tail", " tail"),
    "mistral-bare": ("[TOOL_CALLS]now{}[TOOL_CALLS]now{}", ""),
    "deepseek-v31": (
        DEEPSEEK.replace("{}", "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>" * 2),
        "",
    ),
}


@pytest.mark.parametrize("form", MALFORMED)
@pytest.mark.parametrize("given", [('{"a":x}', '{"b":2}'), ('{"b":2}', '{"a":x}')])
def test_a_call_next_to_malformed_arguments_is_a_call(form: str, given: tuple[str, str]) -> None:
    """Nor do marks come out as text."""
    text, tail = MALFORMED[form]
    first, second, *rest = text.split("{}")
    written = f"{first}{given[0]}{second}{given[1]}{''.join(rest)}"

    found = read(form, written)
    assert found == read(form, *letters(written))
    if (form, given[1]) != ("mistral-args", '{"a":x}'):  # nothing ends those arguments
        assert [call[2] for call in found.calls] == list(given)
        assert found.text == tail


TAGS = "</parameter></arg_value></function></tool_call></invoke>"
TYPED = {
    "find-city": {
        "properties": {
            "list": {"type": "array"},
            "mixed": {"type": ["string", "object"]},
            "name": {"type": "string"},
            "unit": {"enum": ["1", "2"]},
            "days": {"type": "integer"},
            "near": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "open": {"$ref": "#/$defs/flag"},
        },
        "$defs": {"flag": {"type": "boolean"}},
    }
}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", "12", "12"),
        ("name", '"a"', '"a"'),
        ("name", "a\n\nb", "a\n\nb"),
        ("name", "</tool_call><tool_call>", "</tool_call><tool_call>"),
        ("unit", "1", "1"),
        ("days", "12", 12),
        ("days", "soon", "soon"),
        ("near", "null", None),
        ("near", "None", None),
        ("near", "12", "12"),
        ("open", "True", True),
        ("open", "false", False),
        ("list", f'["{TAGS}", {{"{TAGS}": 1}}]', [TAGS, {TAGS: 1}]),
        ("list", f'  [\n  "\\"{TAGS}"\n]\n', [f'"{TAGS}']),
        ("list", "[soon", "[soon"),
        ("list", '["a', '["a'),
        ("list", "[1] or [2]", "[1] or [2]"),
        ("mixed", f'{{"a": "{TAGS}"}}', {"a": TAGS}),
        ("mixed", '{"a": 1} and', '{"a": 1} and'),
        ("mixed", "[1]", "[1]"),
        ("other", f'{{"a": ["{TAGS}"]}}', {"a": [TAGS]}),
        ("other", "12", 12),
        ("other", "Köln", "Köln"),
    ],
)
@pytest.mark.parametrize("form", [form for form in FORMS if form.tags], ids=lambda form: form.name)
def test_the_schema_says_what_a_value_without_quotes_is(
    form: ToolForm, key: str, text: str, value: object
) -> None:
    """Text stays as it is, and goes out as it comes; other values are JSON, or as Python spells them."""
    assert form.tags is not None
    written = f"{form.first}{form.begin}find-city{form.named}{form.tags.begin}{key}{form.tags.named}{text}"
    written += f"{form.tags.end}{form.end}{form.last}"

    whole = read(form.name, written, schemas=TYPED)
    assert [json.loads(arguments) for _, _, arguments in whole.calls] == [{key: value}]
    assert read(form.name, *letters(written), schemas=TYPED) == whole
    for end in range(len(written)):
        pieces = letters(written[:end])
        assert read(form.name, *pieces, schemas=TYPED) == read(form.name, written[:end], schemas=TYPED)


@pytest.mark.parametrize("form", ["qwen3-coder", "glm45", "minimax-m2"])
def test_text_between_tags_goes_out_as_it_comes(form: str) -> None:
    """Nobody waits for the end of a long one. A tag that is no end of it is part of it."""
    known = BY_NAME[form]
    assert known.tags is not None
    reader = known.reader(Offer(TOOLS, str, schemas=TYPED))
    begun = f"{known.first}{known.begin}find-city{known.named}{known.tags.begin}name{known.tags.named}"

    (delta,) = heard(reader.push(f'{begun}print("x")\n</')).tool_calls
    assert delta.arguments.startswith('{"name": "print(\\"x\\")')
    (more,) = heard(reader.push("party>")).tool_calls
    assert delta.arguments + more.arguments == '{"name": "print(\\"x\\")\\n</party>'


def test_a_call_that_breaks_its_tags_stays_a_call() -> None:
    """Its arguments are those that were complete; what follows is text."""
    text = "<tool_call>\n<function=now>\n<parameter=a>\n1\n</parameter>\noops</function>\n</tool_call>"

    found = read("qwen3-coder", text)
    assert found.calls == [("id0", "now", '{"a": 1}')]
    assert found == read("qwen3-coder", *letters(text))


CHANNELS = (
    "<|channel|>analysis<|message|>Hm, <b>\n<|end|><|start|>assistant<|channel|>commentary<|message|>Looking."
    "<|end|><|start|>assistant<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>"
)


@pytest.mark.parametrize(
    ("text", "reasoning", "said", "calls"),
    [
        (CHANNELS, "Hm, <b>\n", "Looking.", ["now"]),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes: <|x|>",
            *("Hm.", "Yes: <|x|>", []),
        ),
        ("<|channel|>final<|message|>Yes.<|return|>", "", "Yes.<|return|>", []),
        (" to=functions.now<|channel|>commentary json<|message|>{}", "", "", ["now"]),
        ("Plain.", "", "Plain.", []),
    ],
)
def test_channels_are_told_apart(text: str, reasoning: str, said: str, calls: list[str]) -> None:
    """What is analysed is reasoning, headers are nothing, and the rest is text or a call."""
    for pieces in ([text], letters(text)):
        reader = BY_NAME["harmony"].reader(Offer(TOOLS, str))
        found = heard(*(reader.push(piece) for piece in pieces), reader.flush())
        assert (found.reasoning, found.text) == (reasoning, said)
        assert [call.name for call in found.tool_calls if call.name] == calls


def test_halves_of_characters_are_replaced_where_arguments_are_read() -> None:
    """JSON in a string can have them, and no text."""
    arguments = json.dumps('{"a": "\ud83d", "b": "\ud83d\ude00"}')
    found = read("hermes", f'<tool_call>{{"name": "now", "arguments": {arguments}}}</tool_call>')

    assert [call[2] for call in found.calls] == ['{"a": "\ufffd", "b": "😀"}']


def test_free_text_goes_out_as_it_comes() -> None:
    """Up to its own mark, whatever else it looks like."""
    reader = BY_NAME["hermes"].reader(Offer(TOOLS, str))
    begun = heard(reader.push('<custom_tool_call name="code">\nprint("</tool_call>")\n</custom'))

    (delta,) = begun.tool_calls
    assert (delta.name, delta.arguments, delta.custom) == ("code", 'print("</tool_call>")', True)
    (rest,) = heard(reader.push("_tool>")).tool_calls
    assert (rest.arguments, rest.custom) == ("\n</custom_tool>", True)


def test_arguments_go_out_as_they_come() -> None:
    """Nobody waits for the end of a call."""
    reader = BY_NAME["hermes"].reader(Offer(TOOLS, str))

    (begun,) = heard(reader.push('<tool_call>{"name": "now", "arguments": {"a": "x')).tool_calls
    assert (begun.name, begun.arguments) == ("now", '{"a": "x')
    (more,) = heard(reader.push("y")).tool_calls
    assert (more.name, more.arguments) == ("", "y")


PIECES = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", '{"name": "now", "arguments": ', "{", "}", "[", "]", '"', "\\", ","),
        *("[TOOL_CALLS]", "[ARGS]", "now", "(", ")", "a=", "'", ": ", "1", "null", "\n", " ", "é", "```"),
        *(
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
            "tool_code\n",
        ),
        *("<function=now>", "<parameter=a>", "</parameter>", "</function>", "<arg_key>", "</arg_key>"),
        *("<arg_value>", "</arg_value>", '<invoke name="now">', "</invoke>", "<minimax:tool_call>"),
        *("<|tool_call_begin|>", "functions.now:0", "<|tool_call_argument_begin|>", "<tool_calls>", "a"),
        *("<|channel|>", "analysis", " to=functions.now", "<|message|>", "<|end|>", "<|start|>assistant"),
        *('<custom_tool_call name="code">\n', "\n</custom_tool_call>", "call:", "<start_function_call>"),
    ]
)


@given(form=st.sampled_from(sorted(BY_NAME)), pieces=st.lists(PIECES, max_size=24), data=st.data())
def test_nothing_depends_on_the_pieces(form: str, pieces: list[str], data: st.DataObject) -> None:
    """Any text of marks and their parts, cut anywhere, says the same; without a call it says itself."""
    text = "".join(pieces)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    whole = read(form, text)
    assert read(form, *parts) == read(form, *letters(text)) == whole
    if not whole.calls and form != "harmony":
        assert whole.text == text


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_longest_names_are_read(form: ToolForm) -> None:
    """Those of functions and custom tools that a request may have, and long ones of arguments."""
    function, custom, key = "f" * LONGEST_TOOL_NAME, "c" * LONGEST_TOOL_NAME, "k" * 200
    offer = Offer({function: False, custom: True}, str)
    for text, name, arguments in (
        (form.spelled([(function, json.dumps({key: 1}))]), function, json.dumps({key: 1})),
        (f"{CUSTOM_BEGIN}{custom}{CUSTOM_NAMED}x{CUSTOM_END}", custom, "x"),
    ):
        for pieces in ([text], letters(text)):
            reader = form.reader(offer)
            found = heard(*map(reader.push, pieces), reader.flush())
            assert (found.text, "".join(part.name for part in found.tool_calls)) == ("", name)
            assert "".join(part.arguments for part in found.tool_calls) == arguments
    assert read("gemma", f"<start_function_call>call:now{{{key}:1}}<end_function_call>").calls[0][2] == (
        json.dumps({key: 1})
    )
