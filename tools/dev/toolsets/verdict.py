"""What answers with calls come to."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from toolsets.sets import PATTERN

Call = tuple[str, str]
"""Name, and arguments or input."""


@dataclass(frozen=True)
class Said:
    """One answer."""

    text: str
    calls: tuple[Call, ...]
    ids: tuple[str, ...]
    finish: str


@dataclass
class Tally:
    """The answers of one kind."""

    answers: int = 0
    finished: int = 0
    """Answers that ended, or whose calls did before the text behind them was cut, where that is free."""
    called: int = 0
    """Answers with calls."""
    cut_calls: int = 0
    """Those of them that were not finished."""
    calls: int = 0
    unequal: int = 0
    """Streamed otherwise than not streamed."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Finished calls that are not as they must be, by why."""
    examples: list[str] = field(default_factory=list)

    def add(self, mode: str, tools: list[dict[str, Any]], whole: Said, streamed: Said) -> None:
        """Judge one answer that was asked for both ways."""
        self.answers += 1
        self.unequal += whole != streamed
        if whole != streamed:
            self.examples.append(f"unequal: {whole} {streamed}")
        self.called += bool(whole.calls)
        if whole.finish == "length" and not (mode == "auto" and _behind_its_calls(tools, whole)):
            self.examples.append(f"not finished: {whole}")
            self.cut_calls += bool(whole.calls)
            return
        self.finished += 1
        self.calls += len(whole.calls)
        for why in _faults(mode, tools, whole):
            self.wrong[why] += 1
            self.examples.append(f"{why}: {whole}")


def _behind_its_calls(tools: list[dict[str, Any]], said: Said) -> bool:
    """Whether an answer has calls, all of them whole."""
    return bool(said.calls) and not [*_faults("auto", tools, said)]


def _faults(mode: str, tools: list[dict[str, Any]], said: Said) -> Iterable[str]:
    if mode != "auto" and not said.calls:
        yield "no call"
    if mode in ("named", "single") and len(said.calls) != 1:
        yield "not one call"
    if said.finish != "length" and (said.finish == "tool_calls") is not bool(said.calls):
        yield "finish reason"
    if mode != "auto" and said.text:
        yield "text beside calls"
    known = {tool[tool["type"]]["name"]: tool for tool in tools}
    for name, given in said.calls:
        tool = known.get(name)
        if tool is None:
            yield "unknown tool"
        elif tool["type"] == "custom":
            if not re.fullmatch(PATTERN, given):
                yield "input"
        else:
            yield from _of_arguments(tool["function"].get("parameters", {}), given)


def _of_arguments(schema: dict[str, Any], given: str) -> Iterable[str]:
    try:
        value = json.loads(given)
    except ValueError:
        yield "no JSON"
        return
    if not isinstance(value, dict):
        yield "no object"
    elif not Draft202012Validator(schema).is_valid(value):
        yield "not valid"
