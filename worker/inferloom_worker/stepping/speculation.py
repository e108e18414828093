"""How many draft tokens a step computes, and whose. Pure.

A step checks a draft by computing it: one row more for each token, and every token that sampling chooses
anyway is one that needs no step of its own (Leviathan et al., "Fast Inference from Transformers via
Speculative Decoding", 2023). A row is worth it if it adds more to the tokens that the step is expected to
yield than to its time. Where reading the weights is most of a step, rows are nearly free and even poor
guesses are tried; in a crowd, where each row costs arithmetic, only near certainties are. Both sides are
measured: how often the sequence's guesses were right, and what draft tokens cost on this machine of late.
Where nothing is to be won nothing is drafted, and a step is what it would be without.
"""

import math
from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from inferloom_worker.engine.options import SpeculationSetting
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.sequence import SequenceState

MOST_DRAFT_TOKENS = 16
"""Draft tokens of one sequence in one step at most, where the setting is ``auto``."""


class Speculation:
    """Plans drafts.

    Args:
        setting: As in :class:`~inferloom_worker.engine.options.EngineOptions`.
        pacing: Knows what a step and a row cost. Only ``auto`` asks it.
    """

    def __init__(self, setting: SpeculationSetting, pacing: Pacing) -> None:
        self._pacing = pacing if setting == "auto" else None
        if setting == "auto":
            self._most = MOST_DRAFT_TOKENS
        else:
            self._most = 0 if setting == "off" else setting

    def plan(
        self, sequences: Iterable[SequenceState], rows: int, room: int
    ) -> dict[SequenceState, tuple[int, ...]]:
        """The drafts that are worth computing.

        Args:
            sequences: Those that decode in this step.
            rows: Rows that the step computes anyway.
            room: Most draft tokens in all.
        """
        if not self._most:
            return {}
        queue = []
        limits: dict[SequenceState, int] = {}
        prices = {greedy: self._price(greedy) for greedy in (True, False)}
        tokens, cost = float(rows), rows + self._overhead()
        for order, sequence in enumerate(sequences):
            drafter = sequence.drafter
            drafter.update()
            if not drafter.has_guess:
                continue
            price = prices[sequence.request.sampling.greedy]
            worth = drafter.chance(1) / price
            # What slows the step by itself does so beside better ones all the more.
            if worth * cost > tokens and (limit := self._limit(sequence)):
                limits[sequence] = limit
                queue.append((-worth, order, price, sequence))
        depths: dict[SequenceState, int] = {}
        heapify(queue)
        while queue and room:
            worth, order, price, sequence = -queue[0][0], *queue[0][1:]
            if not worth or worth * cost <= tokens:
                break  # the best of the next guesses slows the step more than it helps
            tokens, cost, room = tokens + worth * price, cost + price, room - 1
            depth = depths[sequence] = depths.get(sequence, 0) + 1
            if depth < limits[sequence]:
                worth = sequence.drafter.chance(depth + 1) / price
                heapreplace(queue, (-worth, order, price, sequence))
            else:
                heappop(queue)
        return {sequence: sequence.drafter.draft(depth) for sequence, depth in depths.items()}

    def _price(self, greedy: bool) -> float:
        """What a draft token costs, in rows."""
        if self._pacing is None:
            return 1.0
        return self._pacing.draft_price(greedy)

    def _overhead(self) -> float:
        """The step's fixed cost in rows."""
        if self._pacing is None:
            return math.inf  # drafts at any price: as if rows cost nothing
        return self._pacing.overhead or 0.0

    def _limit(self, sequence: SequenceState) -> int:
        """Most draft tokens of a sequence: a step yields one token more than it accepts, and none that a
        constraint forbids."""
        most = min(self._most, sequence.request.max_tokens - sequence.generated - 1)
        if sequence.matcher is None or most <= 0:
            return most
        return sequence.matcher.allowed(sequence.drafter.guess(most))
