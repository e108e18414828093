"""What a worker asks of an engine, and what an engine says of itself.

An engine knows tokens, not text: templates belong to ``text``, detokenising and stop strings to ``output``.
Who answers a request submits a valid :class:`~inferloom_worker.engine.request.GenerationRequest`, and reads
the events of its :class:`Generation`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.events import Event
from inferloom_worker.engine.health import Health
from inferloom_worker.engine.request import GenerationRequest


@dataclass(slots=True)
class GenerationStats:
    """What a request cost; complete when its last event was read. Times in seconds."""

    cached_prompt_tokens: int = 0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class Generation(Protocol):
    """A submitted request, used from the event loop that submitted it."""

    stats: GenerationStats

    def events(self) -> AsyncIterator[Sequence[Event]]:
        """Yield whatever is new, oldest first, until every choice has ended.

        A slow reader gets several events at once, never an unbounded queue of messages. Leaving the
        iterator early does not abort: call :meth:`abort`.

        Raises:
            InferloomError: The request cannot go on: TIMEOUT when its deadline passed before the first
                token, WORKER_LOST when the engine was closed, SERVER_ERROR when a step failed.
        """
        ...

    def follow(self, news: Callable[[], object]) -> bool:
        """Have ``news`` called on the loop when there is something to :meth:`take`, instead of waiting for
        :meth:`events`. False: this one can only be waited for."""
        ...

    def take(self, most: int) -> Sequence[Event]:
        """Whatever is new, oldest first, ``most`` events of it at most; nothing if nothing is. Raises as
        :meth:`events` does, when all events before were taken."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether there is something to take, or an error to be raised by that."""
        ...

    @property
    def over(self) -> bool:
        """Whether the last event was taken, or all was aborted."""
        ...

    def abort(self, choice: int | None = None) -> None:
        """End one choice, or all; their state is free after the engine's current step.

        An aborted choice yields no further events. Aborting what has ended does nothing.
        """
        ...


class Continuity(Enum):
    """What follows where a generation goes on from committed tokens."""

    NONE = "none"
    """Nothing: it cannot."""
    TOKENS = "tokens"
    """What the same rules make of them, from numbers that may differ in their last bits."""
    EXACT = "exact"
    """What would have followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine computes with."""

    vocab_size: int
    context_length: int
    dtype: str
    slots: int
    """Sequences that it runs at once."""
    kv_tokens: int
    """Tokens of state that fit in all."""
    weights_bytes: int
    kv_bytes: int
    engine: str = "torch"
    """What computes: ``kernels``, ``torch``, ``vllm`` or ``echo``."""
    instruction_set: str = ""
    """What it is computed with, as far as results depend on it. Empty: not told apart."""
    embedding_dimensions: int | None = None
    """Length of the vectors that it gives for prompts. None: it gives none."""
    constrains: bool = False
    """Whether requests may have constraints."""
    drafts: bool = False
    """Whether it drafts, so that predictions are of use to it."""
    continuity: Continuity = Continuity.EXACT
    without: frozenset[str] = frozenset()
    """Capabilities with which generations do not go on from committed tokens, such as ``constraint``."""
    ends_in_time: bool = True
    """Whether constrained answers end before they are cut."""
    lacks: frozenset[str] = frozenset()
    """Capabilities that models which generate have and it has not, such as ``prompt_logprobs``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """How busy an engine is now: sequences running and waiting, and totals since it started."""

    running: int
    waiting: int
    free_kv_tokens: int
    generated_tokens: int
    adapter_bytes: int = 0
    """Memory of the adapters that somebody holds."""
    longest_step_s: float = 0.0
    """The longest step of the last minute or two, in seconds. 0: none was measured."""
    steps: int = 0
    """Steps that it has taken."""


class Engine(Protocol):
    """Generates tokens for many requests at once.

    An exception outside the model's own computing breaks an engine: it fails every request with WORKER_LOST,
    takes no more, and says so in ``health``. A step that fails ends only its own requests.
    """

    info: EngineInfo
    health: Health

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a request. Called on a running event loop.

        Raises:
            InferloomError: SERVER_OVERLOADED when the queue is full, WORKER_LOST when closed.
        """
        ...

    def load(self) -> EngineLoad:
        """How busy it is. Cheap, and callable from any thread."""
        ...

    def load_adapter(self, folder: Path) -> Adapter:
        """Read a LoRA adapter that peft saved, for requests to this engine. Blocking; callable from any
        thread.

        Raises:
            AdapterError: It cannot be served on this model; the message says why.
        """
        ...

    def close(self) -> None:
        """End every request with WORKER_LOST, stop the engine's thread and free its memory."""
        ...
