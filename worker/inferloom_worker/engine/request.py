"""What is submitted to an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.constraint import Constraint, Matcher
from inferloom_worker.engine.distinct import DistinctTokens
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.prediction import NOTHING, Prediction
from inferloom_worker.engine.sampling import Sampling


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
