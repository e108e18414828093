"""What an engine says of a request, one thing after another: its tokens, where it stands, why it ended."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.light_dataclasses import dataclass


class EndReason(Enum):
    """Why an engine ended a choice."""

    STOP_TOKEN = "stop_token"  # noqa: S105 # not a password
    COMPLETE = "complete"
    """Its constraint is fulfilled, and nothing may follow."""
    LENGTH = "length"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Natural log-probabilities at one place, under the model's distribution before temperature and filters.

    ``top`` holds the likeliest (token, log-probability) pairs, best first; ``rank`` is 1 for the likeliest
    token of all.
    """

    logprob: float
    top: tuple[tuple[int, float], ...]
    rank: int = 0


@dataclass(frozen=True, slots=True)
class TokensEvent:
    """More tokens of one choice; ``end`` is set with the choice's last.

    ``index`` is the place of the first token in the choice, from 0. A stop token is the last of
    ``token_ids``. A choice that ends without a further token (a deadline, say) has no ``token_ids``.
    Guesses foresaw ``accepted`` of the tokens; ``rejected`` guesses did not come.
    """

    choice: int
    index: int
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] | None = None
    end: EndReason | None = None
    accepted: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """Log-probabilities of the prompt's tokens from place ``first`` on. All of them come in order, each once,
    before the first token of choice 0; the prompt's first token, at place 0, has none."""

    first: int
    logprobs: tuple[TokenLogprobs, ...]


@dataclass(frozen=True, slots=True, eq=False)
class VectorEvent:
    """The vector of a prompt, float32 [embedding_dimensions]: the state of its last token after the last
    layer's norm. Ends the request."""

    vector: NDArray[np.float32]


class Phase(Enum):
    """What a request without new tokens is waiting for."""

    QUEUED = "queued"
    PREFILL = "prefill"
    PREEMPTED = "preempted"


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """Proof of life: nothing to send, but the engine moves. Between steps, every open request without other
    events gets one about once a second, whether it waits, is read or decodes."""

    phase: Phase
    prefilled_tokens: int


Event = TokensEvent | PromptEvent | VectorEvent | ProgressEvent
