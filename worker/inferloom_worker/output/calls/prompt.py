"""Tools in words of ours, for templates that have none, and for tools that no template knows. Pure.

Messages and tools are what templates read: dictionaries in OpenAI's form.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inferloom_worker.output.calls.form import ToolForm
from inferloom_worker.output.calls.reader import CUSTOM_BEGIN, CUSTOM_END, CUSTOM_NAMED

Turn = dict[str, Any]

_FUNCTIONS = """You can call these functions. Each line describes one, its parameters as JSON Schema:
{listed}

To call a function, write its name and its arguments, like this:
{example}"""

_RETURNED = "\nWhat it returns comes between <tool_response> and </tool_response>."

_CUSTOM = """You can use these tools, which take free text:
{listed}

To use one, write the text between marks, like this:
<custom_tool_call name="tool_name">
the text
</custom_tool_call>"""


def describe(
    form: ToolForm,
    functions: Sequence[Mapping[str, Any]],
    custom: Sequence[Mapping[str, Any]],
    *,
    tells_results: bool,
) -> str:
    """What a model is told about tools, and how it is to call them; empty for none.

    Args:
        form: How functions are called.
        functions: Those that the template does not describe.
        custom: Tools that take free text.
        tells_results: Whether it is to be told how what they return is written.
    """
    parts = []
    if functions:
        listed = "\n".join(_line(tool["function"]) for tool in functions)
        example = form.spelled([("function_name", '{"parameter": "value"}')])
        words = _FUNCTIONS.format(listed=listed, example=example)
        parts.append(words + _RETURNED if tells_results else words)
    if custom:
        parts.append(_CUSTOM.format(listed="\n".join(_line(tool["custom"]) for tool in custom)))
    return "\n\n".join(parts)


def _line(tool: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in tool.items() if value}, ensure_ascii=False)


def instruct(turns: Sequence[Turn], words: str, *, hears_system: bool) -> list[Turn]:
    """The conversation with these words at its beginning: in the system's turn, or in the user's first."""
    if not words:
        return list(turns)
    first = next(iter(turns), None)
    if hears_system:
        if first is not None and first["role"] in ("system", "developer"):
            return [{**first, "content": f"{first['content']}\n\n{words}".strip()}, *turns[1:]]
        return [{"role": "system", "content": words}, *turns]
    place = next((i for i, turn in enumerate(turns) if turn["role"] == "user"), 0)
    if not turns:
        return []
    turn = turns[place]
    return [*turns[:place], {**turn, "content": f"{words}\n\n{turn['content']}"}, *turns[place + 1 :]]


def spell_calls(turns: Sequence[Turn], form: ToolForm | None) -> list[Turn]:
    """The conversation with calls as the text that they were: those with free text, and given a form all of
    them. Then what they returned is the user's to say."""
    spelled = [_spelled(turn, form) for turn in turns]
    returned = [
        before["role"] == "tool" and after["role"] == "user"
        for before, after in zip(turns, spelled, strict=True)
    ]
    return list(_merged(spelled, returned)) if any(returned) else spelled


def _spelled(turn: Turn, form: ToolForm | None) -> Turn:
    if turn["role"] == "tool" and form is not None:
        return {"role": "user", "content": f"<tool_response>\n{turn['content']}\n</tool_response>"}
    if not turn.get("tool_calls"):
        return turn
    custom = [call["custom"] for call in turn.get("tool_calls", ()) if call["type"] == "custom"]
    functions = [call for call in turn.get("tool_calls", ()) if call["type"] != "custom"]
    if not custom and (form is None or not functions):
        return turn
    texts = [turn["content"]]
    if form is not None and functions:
        texts.append(form.spelled([_function(call["function"]) for call in functions]))
        functions = []
    texts += [f"{CUSTOM_BEGIN}{call['name']}{CUSTOM_NAMED}{call['input']}{CUSTOM_END}" for call in custom]
    rest = {key: value for key, value in turn.items() if key != "tool_calls"}
    content = "\n".join(text for text in texts if text)
    return {**rest, "content": content, **({"tool_calls": functions} if functions else {})}


def _function(function: Mapping[str, Any]) -> tuple[str, str]:
    """A call's name and its arguments in JSON; what was no object, as it was."""
    given = function["arguments"]
    return function["name"], given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _merged(turns: Sequence[Turn], returned: Sequence[bool]) -> Iterator[Turn]:
    """What several calls returned, and what the user says then, as one turn: many templates want the speakers
    to alternate."""
    last: Turn | None = None
    after = False
    for turn, is_returned in zip(turns, returned, strict=True):
        if last is not None and turn["role"] == last["role"] == "user" and after:
            last = {**last, "content": f"{last['content']}\n{turn['content']}"}
        else:
            if last is not None:
                yield last
            last = turn
        after = is_returned
    if last is not None:
        yield last
