"""A form of calls: how it is read, and how it is spelled where it is enforced."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from inferloom_worker.output.calls.reader import CallReader


class Arguments(Enum):
    """What the arguments of a call look like."""

    OBJECT = "object"
    """A JSON object."""
    KEYWORDS = "keywords"
    """``name=value`` for each, with commas between, the values literals."""
    TAGS = "tags"
    """Each between tags of its own, strings without quotes."""


@dataclass(frozen=True, slots=True)
class Tags:
    """What stands before an argument's name, behind it, and behind its value."""

    begin: str
    named: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolForm:
    """How a family of models writes calls: first, then each call (begin, name, named, arguments, end) with
    ``between`` between two, and last."""

    name: str
    reader: type[CallReader]
    begin: str = ""
    named: str = ""
    end: str = ""
    between: str = ""
    first: str = ""
    last: str = ""
    arguments: Arguments = Arguments.OBJECT
    tags: Tags | None = None
    """Those of arguments between tags."""
    numbered: bool = False
    """Whether each call's name is followed by ``:`` and its number, and ids of calls are made so."""
    alone: bool = False
    """Whether an answer has one call at most."""
    channels: bool = False
    """Whether its reader reads reasoning and text too, also where there are no tools."""
    trigger: str = ""
    """What shows that a call begins. Empty: nothing does."""
    marks: tuple[str, ...] = ()
    """Marks that may be special tokens of a vocabulary, and are read as text."""
    probes: tuple[str, ...] = ()
    """Regular expressions of a prompt in which a call of ``probe_tool`` with the argument ``probe_key`` was
    made; any of them shows that this is the form."""
    short_ids: bool = False
    """Whether its templates want ids of nine letters and digits."""

    def spelled(self, calls: Sequence[tuple[str, str]]) -> str:
        """Calls, each a name and its arguments in JSON, as text."""
        parts = [self._spelled(number, *call) for number, call in enumerate(calls)]
        return self.first + self.between.join(parts) + self.last

    def _spelled(self, number: int, name: str, arguments: str) -> str:
        if self.arguments is Arguments.KEYWORDS:
            arguments = _keywords(arguments)
        elif self.tags is not None:
            arguments = _tagged(self.tags, arguments)
        count = f":{number}" if self.numbered else ""
        return f"{self.begin}{name}{count}{self.named}{arguments}{self.end}"


def _keywords(arguments: str) -> str:
    """A JSON object as keyword arguments; any other text as it is."""
    try:
        given = json.loads(arguments)
        return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    except (ValueError, AttributeError, RecursionError):
        return arguments


def _tagged(tags: Tags, arguments: str) -> str:
    """A JSON object as tags; any other text as it is."""
    try:
        given = json.loads(arguments)
        return "".join(
            f"{tags.begin}{key}{tags.named}{_raw(value)}{tags.end}" for key, value in given.items()
        )
    except (ValueError, AttributeError, RecursionError):
        return arguments


def _raw(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
