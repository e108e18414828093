"""The place of what reads a choice's text: reasoning and tool calls. A model's card decides at load which.

What a parser says is a function of the text so far, however that was cut into pieces; and so the whole
pipeline's output after k tokens is one of those k tokens. Tokens that another worker committed can therefore
be replayed.
"""

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.light_dataclasses import dataclass


@dataclass(slots=True)
class Said:
    """What became final of one choice, by where it goes."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[pb.ToolCallDelta] = field(default_factory=list)


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
