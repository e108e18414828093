"""What one REST completion request becomes."""

from collections.abc import Callable, Sequence
from typing import Protocol

from inferloom.v1.inference_pb2 import Delta, Finished, GenerateRequest, Prompt, Started, Usage
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.light_dataclasses import dataclass


class Encoder(Protocol):
    """Turns the events of one generation into the bytes of a stream; no bytes for what shows nothing."""

    def started(self, event: Started) -> bytes:
        """What a stream begins with."""

    def prompt(self, event: Prompt) -> bytes:
        """Tokens of the prompt."""

    def delta(self, event: Delta) -> bytes:
        """More of a choice."""

    def tokens(self, tokens: Tokens) -> bytes:
        """The same, of one that is nothing but tokens and text."""

    def finished(self, event: Finished) -> bytes:
        """The end of a choice."""

    def end(self, usage: Usage) -> bytes:
        """The end of the stream, with what all of its generations used."""

    def failed(self, error: InferloomError) -> bytes:
        """The end of a stream that could not go on."""


@dataclass(frozen=True, slots=True)
class Part:
    """One generation of a request."""

    request: GenerateRequest
    encoder: Encoder
    """How it is streamed."""
    rename: Callable[[str], str]
    """What REST callers call a field of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Generations that together answer one request: one, or one for each of several prompts."""

    parts: Sequence[Part]
    stream: bool
    """Whether the answer is a stream of events, rather than one body."""
    body: Callable[[Sequence[Outcome]], bytes]
    """The one body, from the outcome of each generation."""
