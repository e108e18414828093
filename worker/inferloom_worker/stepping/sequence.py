"""One choice of one request, as the scheduler sees it."""

from dataclasses import dataclass, field

from inferloom_worker.engine.constraint import Matcher
from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.stepping.adjustment import Adjustment
from inferloom_worker.stepping.drafting import Drafter


@dataclass(slots=True, eq=False)
class SequenceState:
    """A choice that is waiting or running.

    ``tokens`` is the prompt and what was generated, here or before the request came here; the first
    ``computed`` of them have their state in ``blocks``. Preemption frees the blocks and sets ``computed``
    back to 0; the tokens stay.
    """

    request: GenerationRequest
    mailbox: Mailbox
    choice: int
    arrival: int
    """Rises with each sequence; earlier ones run first."""
    submitted_at: float
    tokens: list[int] = field(init=False)
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    """Prefix-cache nodes of its full blocks."""
    reused: int = 0
    """Tokens whose state existed when it was first admitted."""
    preempted: bool = False
    moved: bool = field(init=False)
    """Whether it was begun elsewhere, so that somebody has waited for it longer than it is here."""
    scored: int = field(init=False)
    """Tokens of the prompt whose log-probabilities are told, where they are wanted, or need not be: the first
    has none."""
    started_at: float | None = None
    """When its first prefill step was scheduled."""
    first_token_at: float | None = None
    adjustment: Adjustment | None = field(init=False)
    """What its request does to logits. None: nothing."""
    drafter: Drafter = field(init=False)
    matcher: Matcher | None = field(init=False)
    """What its constraint allows next; it has taken in all that was generated. None: it has none."""

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)
        self.adjustment = Adjustment.of(self.request, self.tokens)
        committed, constraint = self.request.committed.get(self.choice), self.request.constraint
        self.matcher = None if committed is None else committed.matcher
        if constraint is not None and self.matcher is None:
            self.matcher = constraint.matcher()
        scores = self.request.prompt_logprobs is not None and self.choice == 0
        self.scored = 1 if scores else len(self.tokens)
        self.drafter = Drafter(
            self.tokens,
            len(self.tokens),
            greedy=self.request.sampling.greedy,
            prediction=self.request.prediction,
        )
        self.moved = self.request.moved
        if committed is not None:
            self.tokens += committed.token_ids

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def matcher_bytes(self) -> int:
        """Memory that its matcher takes once it runs, as far as that is known."""
        constraint = self.request.constraint
        return 0 if constraint is None else constraint.bytes

    def unscored(self, start: int, stop: int) -> range:
        """The places from ``start`` to ``stop`` whose logits are wanted: those that say how likely the tokens
        of the prompt are that are not told yet."""
        return range(max(start, self.scored - 1), min(stop, len(self.request.prompt) - 1))

    @property
    def remaining(self) -> int:
        """Tokens whose state is not computed; 1 while decoding."""
        return len(self.tokens) - self.computed
