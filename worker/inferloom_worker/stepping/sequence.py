"""One choice of one request, as the scheduler sees it."""

from dataclasses import dataclass, field

from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.protocol import GenerationRequest
from inferloom_worker.stepping.drafting import Drafter


@dataclass(slots=True, eq=False)
class Sequence:
    """A choice that is waiting or running.

    ``tokens`` is the prompt and what was generated; the first ``computed`` of them have their state in
    ``blocks``. Preemption frees the blocks and sets ``computed`` back to 0; the tokens stay.
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
    started_at: float | None = None
    """When its first prefill step was scheduled."""
    first_token_at: float | None = None
    drafter: Drafter = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)
        self.drafter = Drafter(self.tokens, len(self.tokens), greedy=self.request.sampling.greedy)

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def remaining(self) -> int:
        """Tokens whose state is not computed; 1 while decoding."""
        return len(self.tokens) - self.computed
