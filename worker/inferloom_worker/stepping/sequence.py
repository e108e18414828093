"""One choice of one request, as the scheduler sees it."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.constraint import Matcher
from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.protocol import GenerationRequest
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
    scored: int = field(init=False)
    """Tokens of the prompt whose log-probabilities are told, where they are wanted, or need not be: the first
    has none."""
    started_at: float | None = None
    """When its first prefill step was scheduled."""
    first_token_at: float | None = None
    adjusts: bool = field(init=False)
    """Whether its request changes logits."""
    drafter: Drafter = field(init=False)
    matcher: Matcher | None = field(init=False)
    """What its constraint allows next; it has taken in all that was generated. None: it has none."""
    _counts: Counter[int] = field(init=False, default_factory=Counter)
    _known: set[int] = field(init=False, default_factory=set)
    _distinct: "array[int]" = field(init=False, default_factory=lambda: array("q"))
    _read: int = field(init=False, default=0)
    _counted: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)
        self.adjusts = self.request.adjusts
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
        if committed is not None:
            self.tokens += committed.token_ids

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.request.prompt)

    def said(self) -> Counter[int]:
        """How often each token was generated. Counted on from where the last call stopped."""
        start = max(self._counted, len(self.request.prompt))
        self._counts.update(self.tokens[start:])
        self._counted = len(self.tokens)
        return self._counts

    def seen(self, draft: tuple[int, ...] = ()) -> NDArray[np.int64]:
        """The tokens of the prompt, of what was generated and of ``draft``, each once."""
        for token in self.tokens[self._read :]:
            if token not in self._known:
                self._known.add(token)
                self._distinct.append(token)
        self._read = len(self.tokens)
        drafted = [token for token in dict.fromkeys(draft) if token not in self._known]
        return np.array(self._distinct + array("q", drafted), np.int64)

    def unscored(self, start: int, stop: int) -> range:
        """The places from ``start`` to ``stop`` whose logits are wanted: those that say how likely the tokens
        of the prompt are that are not told yet."""
        return range(max(start, self.scored - 1), min(stop, len(self.request.prompt) - 1))

    @property
    def remaining(self) -> int:
        """Tokens whose state is not computed; 1 while decoding."""
        return len(self.tokens) - self.computed
