"""The place of what reads a choice's text: reasoning and tool calls. A model's card decides at load which.

What a parser says is a function of the text so far, however that was cut into pieces; and so the whole
pipeline's output after k tokens is one of those k tokens. Tokens that another worker committed can therefore
be replayed.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.light_dataclasses import dataclass


class Kind(Enum):
    """What of an answer something is."""

    TEXT = "text"
    REASONING = "reasoning"
    CALLS = "calls"


@dataclass(slots=True)
class Stretch:
    """What was said without a change of kind."""

    kind: Kind
    text: str = ""
    """What was said or thought."""
    calls: Sequence[pb.ToolCallDelta] = ()
    """Parts of calls, in order."""

    def add(self, more: "Stretch") -> None:
        """Go on with more of the same kind."""
        self.text += more.text
        for part in more.calls:
            self.add_call(part)

    def add_call(self, part: pb.ToolCallDelta) -> None:
        """Go on with a part of a call; what goes on with the call before is one part with it: readers of
        chunks take the first of each call, and no other."""
        begins = part.id or part.name
        if not begins and self.calls and self.calls[-1].index == part.index:
            self.calls[-1].arguments += part.arguments
        else:
            self.calls = [*self.calls, part]


class Said:
    """What became final of one choice, in the order in which it was said."""

    __slots__ = ("stretches",)

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        """No two of one kind behind one another."""

    def add_text(self, text: str) -> None:
        """More of the answer itself."""
        if text:
            self._of(Kind.TEXT).text += text

    def add_reasoning(self, text: str) -> None:
        """More of what was thought."""
        if text:
            self._of(Kind.REASONING).text += text

    def add_call(self, part: pb.ToolCallDelta) -> None:
        """A part of a call."""
        self._of(Kind.CALLS).add_call(part)

    def _of(self, kind: Kind) -> Stretch:
        """The last stretch, if it is of a kind; else a new one."""
        if not self.stretches or self.stretches[-1].kind is not kind:
            self.stretches.append(Stretch(kind))
        return self.stretches[-1]


class Parser(Protocol):
    """Takes what it knows out of a choice's plain text, and passes on all else, in order."""

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends within reasoning."""
        ...

    @property
    def calls(self) -> int:
        """Calls that are complete."""
        ...

    @property
    def done(self) -> bool:
        """Whether nothing that follows will be read, so that the choice can end."""
        ...

    def push(self, text: str) -> Said:
        """What became final with more text. What may become a mark of its own is held back."""
        ...

    def flush(self) -> Said:
        """The rest, when no text follows."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What reads one request's answer."""

    parsers: Callable[[int], Sequence[Parser]] = lambda choice: ()
    """Makes the parsers of one choice, in the order in which text passes them. What a parser makes up, such
    as a call's id, derives from the request's seed and the choice's index."""
    shown: frozenset[int] = frozenset()
    """Special tokens whose text the parsers read."""
    calls_only: bool = False
    """Whether the answer is calls and nothing else: it ends where no other would fit into its tokens."""


PLAIN = Reading()
"""For text that is what it says."""


def begun(text: str, start: int, marks: Sequence[str]) -> int:
    """Characters at the end of a text, from ``start`` on, that may become one of the marks."""
    longest = max(map(len, marks), default=1) - 1
    for size in range(min(longest, len(text) - start), 0, -1):
        if any(len(mark) > size and mark.startswith(text[-size:]) for mark in marks):
            return size
    return 0
