"""Which tokens are computed in the next step. Pure policy: no tensors, no threads, no clock.

Continuous batching after Orca (Yu et al., 2022): sequences join and leave the batch between steps. Prompts
are read in chunks that share a step with everyone's decoding, after Sarathi-Serve (Agrawal et al., 2024), so
that a long prompt never stalls running streams. State lives in blocks, after vLLM (Kwon et al., 2023); when
they run out the least urgent sequence gives its own back and computes them again later. Sequences that begin
alike share blocks. A decoding sequence may bring a draft of what comes next, to be checked in the same step.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter

from inferloom_worker.stepping.blocks import BLOCK_TOKENS, BlockPool, blocks_for
from inferloom_worker.stepping.fairness import Fairness
from inferloom_worker.stepping.pacing import LEAST_ROWS
from inferloom_worker.stepping.prefix import Match, PrefixCache
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation
from inferloom_worker.stepping.step_drafts import StepDrafts
from inferloom_worker.stepping.work import Room, Work, within, work_of

MOST_MATCHER_BYTES = 2**30
"""Memory that the matchers of all who run may take, as far as it is known before. One alone may take more."""

MOVED_WEIGHT = 8
"""As how many that wait for a prompt one counts that was begun elsewhere: its reader is in the middle of an
answer, or has waited for one twice, and sees nothing come at all where the others see it come more slowly."""


MOVED_CROWD = 4
"""How many times as many as those that decode are taken to wait for a prompt, at least, where one of them
was begun elsewhere and has no less priority than they. Those come one after another, as each may be what
ended its worker: the rest waits."""


_arrival = attrgetter("arrival")


class Scheduler:
    """Holds the waiting queue and the running batch.

    Invariants: a running sequence owns the blocks of its computed tokens; a waiting one owns none; a block
    has several owners only where they begin alike. The pool holds at least one full context, so the oldest
    sequence can always run.
    """

    def __init__(
        self,
        pool: BlockPool,
        speculation: Speculation,
        *,
        max_running: int,
        max_step_tokens: int,
        max_step_scores: int = 2**31,
    ) -> None:
        self.pool = pool
        self._drafts = StepDrafts(pool, speculation)
        self.prefixes = PrefixCache(pool)
        self.max_running = max_running
        self.max_step_tokens = max_step_tokens
        self.max_step_scores = max_step_scores
        """Places of prompts and of forced tokens whose logits one step computes at most: a row of them is a
        whole vocabulary."""
        self.fairness = Fairness()
        self.waiting: list[SequenceState] = []
        self.running: list[SequenceState] = []
        self._gave_way: set[SequenceState] = set()
        """Sequences that were preempted while a step is decided."""
        self.freed = 0
        """Running sequences that were taken out, so far."""
        self.short_of_memory = False
        """Whether somebody waits for blocks, and not for a place among those who run."""

    def add(self, sequence: SequenceState) -> None:
        """Queue a sequence."""
        self.fairness.arrive(sequence, self.sequences())
        self.waiting.append(sequence)

    def remove(self, sequence: SequenceState) -> None:
        """Take a sequence out, finished or not, and free its blocks. Removing twice does nothing."""
        if sequence in self.running:
            self._stop(sequence)
            self.freed += 1
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def sequences(self) -> Iterable[SequenceState]:
        """Every sequence, running ones first."""
        return (*self.running, *self.waiting)

    def advance(self, step: list[Work], yielded: list[list[int]]) -> None:
        """Take in that a step was computed, and append the tokens that each work yielded, one or more where
        it samples. All but the last of them stood in its draft, so that their state is computed; the state
        of the rest of the draft is forgotten, and overwritten by what comes next."""
        charge, commit = self.fairness.charge, self.prefixes.commit
        for work, tokens in zip(step, yielded, strict=True):
            sequence = work.sequence
            count = work.count if len(tokens) < 2 else work.count + len(tokens) - 1
            charge(sequence, count)
            sequence.tokens += tokens
            if work.draft and work.guessed:
                sequence.drafter.settle(count - work.count)
            sequence.computed += count
            if work.scores:
                sequence.scored += len(work.scores)
            commit(sequence)

    def schedule(
        self, prompt_rows: Callable[[int, int], int] | None = None, most_rows: int | None = None
    ) -> list[Work]:
        """Decide the next step and take the blocks it needs. Empty when there is nothing to do.

        Decoding sequences go first, one token each; what is left of the step's budget reads prompts, those
        that have begun before those that wait, in the order of :meth:`Fairness.order`. What was begun
        elsewhere is read before either as long as it is its turn, with half of what is left where others have
        something to read, too. Beside decoding, ``prompt_rows`` of the numbers of sequences that decode and
        that have something to read (those from elsewhere count for several) bounds what is read;
        ``most_rows`` bounds the whole step, but for one row of each that decodes and a few more.
        """
        bound = self.max_step_tokens
        decoding = [s for s in self.running if len(s.tokens) - s.computed == 1]
        reading = [s for s in self.running if len(s.tokens) - s.computed != 1]
        if most_rows is not None:
            bound = min(bound, max(most_rows, len(decoding) + LEAST_ROWS))
        budget = bound
        # To whoever waits and cannot join no rows are left, and he counts as one of those who want to be read
        # wherever he comes from: their number alone makes steps longer.
        could_join = len(self.running) < self.max_running and not self.short_of_memory
        if decoding and prompt_rows is not None:
            read = (*reading, *self.waiting) if could_join else reading
            moved = [s.request.priority for s in read if s.moved and not s.preempted]
            wanting = len(reading) + len(self.waiting) + (MOVED_WEIGHT - 1) * len(moved)
            if moved and max(moved) >= max(s.request.priority for s in decoding):
                wanting = max(wanting, MOVED_CROWD * len(decoding))
            budget = min(budget, len(decoding) + prompt_rows(len(decoding), wanting))
        gave_way = self._gave_way
        decoding.sort(key=_arrival)
        step: list[Work] = []
        for sequence in decoding:
            if len(step) == budget:
                break
            # Most have a block with room left; and whoever gave way to an earlier one is out of this step.
            room = sequence.computed < len(sequence.blocks) * BLOCK_TOKENS
            if room or (sequence not in gave_way and self._make_room(sequence, 1)):
                step.append(Work(sequence, 1, sequence.request.max_tokens > 0))
        left = Room(budget - len(step), self.max_step_scores)
        reading.sort(key=_arrival)
        new = [s for s in reading if not s.moved]
        self.short_of_memory = False
        if len(new) < len(reading) or any(s.moved for s in self.waiting):
            shared = bool(new) or (could_join and any(not s.moved for s in self.waiting))
            kept = left.tokens // 2 if shared else 0
            left.tokens -= kept
            self._read(step, [s for s in reading if s.moved], left)
            self._join(step, left, moved=True)
            left.tokens += kept
        self._read(step, new, left)
        if gave_way:  # after it was planned: it is not computed after all
            for work in step:
                if work.sequence in gave_way:
                    left.tokens += work.count
                    left.scores += len(work.scores)
            step = [work for work in step if work.sequence not in gave_way]
            gave_way.clear()
        self._join(step, left)
        return self._drafts.add(step, len(self.running), bound, left.scores)

    def _read(self, step: list[Work], reading: Iterable[SequenceState], left: Room) -> None:
        """Add what is read of prompts that have begun."""
        for sequence in reading:
            if sequence in self._gave_way:
                continue
            count = within(sequence, min(sequence.remaining, left.tokens), left.scores)
            if count and self._make_room(sequence, count):
                self._take(step, sequence, count, left)

    def _join(self, step: list[Work], left: Room, *, moved: bool = False) -> None:
        """Let those that wait run, and add what is read of them. ``moved``: only until it is the turn of one
        that was not begun elsewhere."""
        if not self.waiting or not left.tokens or len(self.running) >= self.max_running:
            return
        promised = sum(_lacks(s) for s in self.running if s.remaining > 1)
        held = sum(s.matcher_bytes for s in self.sequences() if s.blocks or s.preempted)
        full = False
        for sequence in self.fairness.order(self.waiting, self.running):
            if not left.tokens or len(self.running) >= self.max_running or (moved and not sequence.moved):
                break
            if not left.scores and sequence.scored < len(sequence.request.prompt):
                continue
            fresh = 0 if sequence.preempted else sequence.matcher_bytes
            full = full or (held > 0 and fresh > 0 and held + fresh > MOST_MATCHER_BYTES)
            if full and fresh:
                continue  # who asks for less would take, again and again, what it waits for
            match = self.prefixes.match(sequence)
            if match.pending:
                continue  # its beginning is being computed for another: waiting is cheaper than doing it too
            if not self._admit(sequence, match, promised):
                self.short_of_memory = True
                break
            count = within(sequence, min(sequence.remaining, left.tokens), left.scores)
            sequence.blocks.extend(
                self.pool.allocate(blocks_for(sequence.computed + count) - len(sequence.blocks))
            )
            promised += _lacks(sequence)
            held += fresh
            self._take(step, sequence, count, left)

    @staticmethod
    def _take(step: list[Work], sequence: SequenceState, count: int, left: Room) -> None:
        step.append(work_of(sequence, count))
        left.tokens -= count
        left.scores -= len(step[-1].scores)

    def _admit(self, sequence: SequenceState, match: Match, promised: int) -> bool:
        """Let a waiting sequence run, with the blocks that it shares; False if memory does not allow it."""
        self.pool.share(match.blocks)
        sequence.blocks.extend(match.blocks)
        # All of the prompt must fit now, beside the blocks that are ``promised`` to prompts which are being
        # read, or one of them would soon be preempted for the other.
        if not self.pool.can_allocate(promised + _lacks(sequence)):
            self.pool.release(sequence.blocks)
            return False
        self.waiting.remove(sequence)
        self.running.append(sequence)
        sequence.nodes = match.nodes
        sequence.computed = len(match.blocks) * BLOCK_TOKENS
        if not sequence.preempted:
            sequence.reused = sequence.computed
        self.prefixes.announce(sequence)
        return True

    def _make_room(self, sequence: SequenceState, count: int) -> bool:
        """Give ``sequence`` blocks for ``count`` more tokens, at the cost of others' if need be."""
        need = blocks_for(sequence.computed + count) - len(sequence.blocks)
        while not self.pool.can_allocate(need):
            victim = max(self.running, key=_dispensable)
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.blocks.extend(self.pool.allocate(need))
        return True

    def _stop(self, sequence: SequenceState) -> None:
        self.running.remove(sequence)
        self.prefixes.retract(sequence)
        self.pool.release(sequence.blocks)

    def _preempt(self, sequence: SequenceState) -> None:
        self._stop(sequence)
        sequence.computed = 0
        sequence.nodes = []
        sequence.preempted = True
        self._gave_way.add(sequence)
        self.waiting.append(sequence)


def _lacks(sequence: SequenceState) -> int:
    """Blocks that it still needs for what it has to read, and its next token."""
    return max(blocks_for(len(sequence.tokens) + 1) - len(sequence.blocks), 0)


def _dispensable(sequence: SequenceState) -> tuple[int, int]:
    """The greatest gives way: the least priority, then the latest arrival."""
    return -sequence.request.priority, sequence.arrival
