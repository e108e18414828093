"""Tools in words of ours, for templates that have none, and for tools that no template knows. Pure.

Messages and tools are what templates read: dictionaries in OpenAI's form.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inferloom_worker.output.calls.reader import CUSTOM_BEGIN, CUSTOM_END, CUSTOM_NAMED

Turn = dict[str, Any]

_FUNCTIONS = """You can call these functions. Each line describes one, its parameters as JSON Schema:
{listed}

To call a function, write its name and its arguments between marks, like this:
<tool_call>
{{"name": "function_name", "arguments": {{"parameter": "value"}}}}
</tool_call>
What it returns comes between <tool_response> and </tool_response>."""

_CUSTOM = """You can use these tools, which take free text:
{listed}

To use one, write the text between marks, like this:
<custom_tool_call name="tool_name">
the text
</custom_tool_call>"""


def describe(functions: Sequence[Mapping[str, Any]], custom: Sequence[Mapping[str, Any]]) -> str:
    """What a model is told about tools; empty for none."""
    parts = []
    if functions:
        parts.append(_FUNCTIONS.format(listed="\n".join(_line(tool["function"]) for tool in functions)))
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


def spell_calls(turns: Sequence[Turn], *, all_calls: bool) -> list[Turn]:
    """The conversation with calls as the text that they were: those with free text, or all. With all, what
    they returned is the user's to say."""
    spelled = [_spelled(turn, all_calls) for turn in turns]
    returned = [
        before["role"] == "tool" and after["role"] == "user"
        for before, after in zip(turns, spelled, strict=True)
    ]
    return list(_merged(spelled, returned)) if any(returned) else spelled


def _spelled(turn: Turn, all_calls: bool) -> Turn:
    if turn["role"] == "tool" and all_calls:
        return {"role": "user", "content": f"<tool_response>\n{turn['content']}\n</tool_response>"}
    calls = turn.get("tool_calls", [])
    ours = [call for call in calls if all_calls or call["type"] == "custom"]
    if not ours:
        return turn
    text = "\n".join(part for part in (turn["content"], *map(_call, ours)) if part)
    rest = {key: value for key, value in turn.items() if key != "tool_calls"}
    others = [call for call in calls if call not in ours]
    return {**rest, "content": text, **({"tool_calls": others} if others else {})}


def _call(call: Mapping[str, Any]) -> str:
    if call["type"] == "custom":
        custom = call["custom"]
        return f"{CUSTOM_BEGIN}{custom['name']}{CUSTOM_NAMED}{custom['input']}{CUSTOM_END}"
    function = call["function"]
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {json.dumps(function["name"])}, "arguments": {text}}}\n</tool_call>'


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
