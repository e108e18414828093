"""What one REST completion request becomes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inferloom.v1.inference_pb2 import Delta, Finished, GenerateRequest, Started, Usage
from inferloom_gateway.http.translate.outcome import Outcome


class Encoder(Protocol):
    """Turns the events of one generation into the bytes of a stream; no bytes for what shows nothing."""

    def started(self, event: Started) -> bytes:
        """What a stream begins with."""

    def delta(self, event: Delta) -> bytes:
        """More of a choice."""

    def finished(self, event: Finished) -> bytes:
        """The end of a choice."""

    def end(self, usage: Usage) -> bytes:
        """The end of the stream, with what all of its generations used."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Generations that together answer one request: one, or one for each of several prompts."""

    requests: Sequence[GenerateRequest]
    """What to generate."""
    encoders: Sequence[Encoder] | None
    """For each generation, how it is streamed; None if the answer is one body."""
    body: Callable[[Sequence[Outcome]], bytes]
    """The one body, from the outcome of each generation."""
    renames: Sequence[Callable[[str], str]]
    """For each generation, what REST callers call a field of it."""
