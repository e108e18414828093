"""Which tokens a step computes beyond those that are known: forced ones, and drafts. Pure."""

from dataclasses import replace

from inferloom_worker.stepping.blocks import BlockPool, blocks_for
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation
from inferloom_worker.stepping.work import Work


class StepDrafts:
    """Adds to a step what is checked in it.

    Args:
        pool: Has the blocks that drafts need.
        speculation: Plans drafts.
    """

    def __init__(self, pool: BlockPool, speculation: Speculation) -> None:
        self._pool = pool
        self._speculation = speculation

    def add(self, step: list[Work], running: int, bound: int, places: int) -> list[Work]:
        """Add tokens that are forced, and drafts that are worth it. Nobody gives way to them.

        Args:
            step: What is computed anyway.
            running: How many sequences run, each of which may need a block of its own in the next step.
            bound: Rows of the whole step at most.
            places: Of these, how many more may be forced tokens, whose logits are all computed.
        """
        rows = sum([work.count for work in step])
        drafts = _forced(step, min(bound - rows, places))
        rows += sum(map(len, drafts.values()))
        certain = set(drafts)
        guessing = [work.sequence for work in step if work.count == 1 and work.samples]
        if certain:
            guessing = [sequence for sequence in guessing if sequence not in certain]
        drafts |= self._speculation.plan(guessing, rows, bound - rows)
        if not drafts:
            return step
        spare = self._pool.free - running
        for place, work in enumerate(step):
            sequence, draft = work.sequence, drafts.get(work.sequence, ())
            need = max(blocks_for(len(sequence.tokens) + len(draft)) - len(sequence.blocks), 0)
            if draft and (not need or need <= spare):
                sequence.blocks.extend(self._pool.allocate(need))
                spare -= need
                step[place] = replace(work, draft=draft, forced=len(draft) if sequence in certain else 0)
        return step


def _forced(step: list[Work], room: int) -> dict[SequenceState, tuple[int, ...]]:
    """The tokens that constraints force, of sequences that have some; at most ``room`` in all."""
    forced: dict[SequenceState, tuple[int, ...]] = {}
    for work in step:
        sequence = work.sequence
        if sequence.matcher is None or not work.samples or work.scores:
            continue
        # The step yields one token more. One that ends the choice is chosen like any other.
        most = min(room, sequence.request.max_tokens - sequence.generated - 1)
        run = tuple(sequence.matcher.forced()[: max(most, 0)])
        stops = sequence.request.stop_token_ids
        run = next((run[:at] for at, token in enumerate(run) if token in stops), run)
        if run:
            forced[sequence] = run
            room -= len(run)
    return forced
