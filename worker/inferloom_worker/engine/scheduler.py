"""Which tokens are computed in the next step. Pure policy: no tensors, no threads, no clock.

Continuous batching after Orca (Yu et al., 2022): sequences join and leave the batch between steps. Prompts
are read in chunks that share a step with everyone's decoding, after Sarathi-Serve (Agrawal et al., 2024), so
that a long prompt never stalls running streams. State lives in blocks, after vLLM (Kwon et al., 2023); when
they run out the latest sequence gives its own back and computes them again later.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from inferloom_worker.engine.blocks import BlockPool, blocks_for
from inferloom_worker.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Work:
    """Compute ``count`` tokens of a sequence from its first uncomputed one; ``samples`` when that is all of
    them, so that the step yields its next token."""

    sequence: Sequence
    count: int
    samples: bool


class Scheduler:
    """Holds the waiting queue and the running batch.

    Invariants: a running sequence owns the blocks of its computed tokens; a waiting one owns none; every
    block is owned once. The pool holds at least one full context, so the oldest sequence can always run.
    """

    def __init__(self, pool: BlockPool, *, max_running: int, max_step_tokens: int) -> None:
        self.pool = pool
        self.max_running = max_running
        self.max_step_tokens = max_step_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence behind the others."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, finished or not, and free its blocks. Removing twice does nothing."""
        if sequence in self.running:
            self.running.remove(sequence)
            self.pool.release(sequence.blocks)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def sequences(self) -> Iterable[Sequence]:
        """Every sequence, running ones first."""
        return (*self.running, *self.waiting)

    def schedule(self) -> list[Work]:
        """Decide the next step and take the blocks it needs. Empty when there is nothing to do.

        Decoding sequences go first, one token each; what is left of the step's budget reads prompts in
        order of arrival.
        """
        budget = self.max_step_tokens
        step: list[Work] = []
        for sequence in sorted(self.running, key=_decoding_first):
            if sequence not in self.running:
                continue  # preempted by an earlier one in this very step
            count = min(sequence.remaining, budget)
            if count and self._make_room(sequence, count):
                step.append(_work(sequence, count))
                budget -= count
        # A sequence that was preempted after it was planned is not computed after all.
        step = [work for work in step if work.sequence in self.running]
        while budget and self.waiting and len(self.running) < self.max_running:
            sequence = self.waiting[0]
            count = min(sequence.remaining, budget)
            # All of the prompt must fit now, or the sequence would soon be preempted for its own prefill.
            if not self.pool.can_allocate(blocks_for(sequence.remaining + 1)):
                break
            self.waiting.popleft()
            self.running.append(sequence)
            sequence.blocks.extend(self.pool.allocate(blocks_for(count)))
            step.append(_work(sequence, count))
            budget -= count
        return step

    def _make_room(self, sequence: Sequence, count: int) -> bool:
        """Give ``sequence`` blocks for ``count`` more tokens, at the cost of later arrivals if need be."""
        need = blocks_for(sequence.computed + count) - len(sequence.blocks)
        while not self.pool.can_allocate(need):
            victim = max(self.running, key=lambda s: s.arrival)
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.blocks.extend(self.pool.allocate(need))
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.pool.release(sequence.blocks)
        sequence.computed = 0
        sequence.preempted = True
        self.waiting.appendleft(sequence)


def _decoding_first(sequence: Sequence) -> tuple[bool, int]:
    return sequence.remaining > 1, sequence.arrival


def _work(sequence: Sequence, count: int) -> Work:
    return Work(sequence, count, samples=count == sequence.remaining)
