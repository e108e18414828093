"""What the engine asks of vLLM, and what comes back: the seam behind which vLLM itself is."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.events import TokenLogprobs
from inferloom_worker.engines.vllm.translation import Asked


class DeadError(Exception):
    """vLLM's engine has ended, with everything that it had."""


class RefusedError(Exception):
    """vLLM does not take a request.

    Args:
        message: Why, in its words.
        status: What that is over HTTP.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What vLLM says of itself with each step."""

    running: int
    waiting: int
    kv_usage: float
    """Part of the state's memory that is taken, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What a sequence cost, in seconds."""

    cached_prompt_tokens: int = 0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """More of a sequence."""

    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] | None = None
    prompt_logprobs: tuple[TokenLogprobs, ...] | None = None
    """Of the prompt's tokens from the second on, where they are wanted; with the first piece."""
    end: str | None = None
    """vLLM's word for why it ended: ``stop``, ``length``, or another; None: it goes on."""
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class Named:
    """What goes with a sequence."""

    id: str
    priority: int = 0
    """Higher goes first."""
    cache_salt: str = ""
    adapter: "LoadedAdapter | None" = None


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter as vLLM names it."""

    name: str
    number: int
    path: str


class Backend(Protocol):
    """vLLM's engine. Everything but :meth:`shutdown` belongs to the loop that runs it."""

    def generate(self, asked: Asked, named: Named) -> AsyncIterator[Piece]:
        """Generate one sequence. Leaving it aborts.

        Raises:
            DeadError, RefusedError: As they say.
        """
        ...

    async def embed(self, prompt: list[int], named: Named) -> NDArray[np.float32]:
        """The vector of a prompt. Raises as :meth:`generate` does."""
        ...

    def watch(self, record: Callable[[StepRecord], None]) -> None:
        """Have ``record`` called with each step."""
        ...

    @property
    def step_tokens(self) -> int:
        """Most tokens that one step reads; 0: not known."""
        ...

    @property
    def dead(self) -> bool:
        """Whether it has ended by itself."""
        ...

    async def add_adapter(self, adapter: LoadedAdapter) -> None:
        """Load an adapter. Raises RefusedError where it does not fit."""
        ...

    async def remove_adapter(self, number: int) -> None:
        """Forget an adapter."""
        ...

    def shutdown(self) -> None:
        """End it. Blocking, for seconds; on any thread."""
        ...
