"""What a worker asks of an engine, and what an engine says back.

An engine knows tokens, not text: templates, detokenising and stop strings belong to ``text``. The servicer
submits a validated :class:`GenerationRequest` and reads a :class:`Generation`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import field
from enum import Enum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.constraint import Constraint, Matcher
from inferloom_worker.engine.distinct import DistinctTokens
from inferloom_worker.engine.health import Health
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.prediction import NOTHING, Prediction

LEAST_TEMPERATURE = 1e-5
"""Below it the likeliest token is taken: what a draw computes there leaves the numbers that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn; every field is in the range that the contract documents."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return not self.temperature >= LEAST_TEMPERATURE or self.top_k == 1


class Adapter(Protocol):
    """Weights that change what a model computes for the requests that ask for it.

    The engine that loaded it is the only one to use it. Its memory is freed when nobody holds it any more:
    neither who serves it nor a request.
    """

    @property
    def id(self) -> int:
        """Tells it from every other adapter of the process, earlier ones included."""
        ...

    @property
    def weights_bytes(self) -> int:
        """Bytes of its weights in memory."""
        ...


@dataclass(frozen=True, slots=True)
class Committed:
    """What was generated of one choice before it came to this engine."""

    token_ids: Sequence[int]
    matcher: Matcher | None = None
    """Its place in the request's constraint after them; for this one submission. None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A validated request for ``n`` completions of one prompt.

    ``prompt`` has at least one token and ``len(prompt) + max_tokens`` fits the engine's context.
    ``stop_token_ids`` holds every token that ends a choice, the model's own end tokens included.
    ``deadline`` is a reading of ``time.monotonic``; ``top_logprobs`` is None where no log-probabilities
    are wanted, and so is ``prompt_logprobs`` for those of the prompt's tokens. Only with them may
    ``max_tokens`` be 0. With ``embeds`` the prompt's vector is wanted and no token: ``max_tokens`` and ``n``
    are 1.
    """

    request_id: str
    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling = Sampling()
    n: int = 1
    min_tokens: int = 0
    stop_token_ids: frozenset[int] = frozenset()
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    deadline: float | None = None
    priority: int = 0
    tenant: str = ""
    """Who is to get a fair share of the engine."""
    share: float = 1.0
    """His part, in relation to other tenants'."""
    cache_salt: str = ""
    """Requests share cached state only with those that have the same salt."""
    embeds: bool = False
    adapter: Adapter | None = None
    """None: the model as it is."""
    limits: TokenLimits | None = None
    """Which tokens may come at all. None: every one."""
    prediction: Prediction = NOTHING
    """What is expected to come, to be drafted from."""
    constraint: Constraint | None = None
    """What every choice must conform to; only for engines that constrain."""
    committed: Mapping[int, Committed] = field(default_factory=dict)
    """Choices that go on from tokens which they have, fewer than ``max_tokens``. Events tell what follows."""
    over: frozenset[int] = frozenset()
    """Choices that have ended already, and yield no events. Not all of them."""
    moved: bool = False
    """Whether another worker had accepted it, whether or not it came to a token there: somebody has waited
    for it since."""
    distinct: DistinctTokens = field(init=False, repr=False, compare=False)
    """Those of the prompt."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "distinct", DistinctTokens(self.prompt))

    @property
    def choices(self) -> list[int]:
        """The choices that are to be generated, in order."""
        return [choice for choice in range(self.n) if choice not in self.over]

    @property
    def adjusts(self) -> bool:
        """Whether logits are changed before a token is chosen from them, by more than a temperature and
        filters."""
        sampling = self.sampling
        return bool(
            sampling.repetition_penalty != 1.0
            or sampling.presence_penalty
            or sampling.frequency_penalty
            or sampling.logit_bias
            or self.min_tokens
            or self.limits is not None
        )


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
    """What computes: ``kernels``, ``torch``, ``sentence-transformers`` or ``echo``."""
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
