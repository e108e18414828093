"""The place of what reads a choice's text: reasoning and tool calls. A model's card decides at load which.

What a parser says is a function of the text so far, however that was cut into pieces; and so the whole
pipeline's output after k tokens is one of those k tokens. Tokens that another worker committed can therefore
be replayed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb


@dataclass(slots=True)
class Said:
    """What became final of one choice, by where it goes."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[pb.ToolCallDelta] = field(default_factory=list)


class Parser(Protocol):
    """Takes what it knows out of a choice's plain text, and passes on all else, in order."""

    def push(self, text: str) -> Said:
        """What became final with more text. What may become a mark of its own is held back."""
        ...

    def flush(self) -> Said:
        """The rest, when no text follows."""
        ...


Parsers = Callable[[int, int], Sequence[Parser]]
"""Makes the parsers of one choice, in the order in which text passes them, of the request's seed and the
choice's index: what else a parser makes up, such as a call's id, derives from these."""


def no_parsers(seed: int, choice: int) -> Sequence[Parser]:
    """For models whose text is what they say."""
    return ()
