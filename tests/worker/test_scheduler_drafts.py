"""Guesses and forced tokens: rows of a step that nobody gives way to, and whose state is not shared."""

from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from tests.worker.scheduling import arrive, run, scheduler, share


def test_a_draft_is_computed_behind_its_sequences_last_token() -> None:
    """What it foresees is right, then wrong; the sequence goes on from the last token that is certain."""
    target = scheduler(drafts=4)
    (sequence,) = share(target, [[5, 0, 0, 0, 7, 8, 5, 0]])
    run(target, target.schedule())
    (work,) = target.schedule()
    assert (work.count, work.draft, work.rows) == (1, (0, 7, 8, 5), 5)
    run(target, [work])
    assert sequence.tokens[-3:] == [0, 0, 0]
    assert sequence.remaining == 1


class Forcing:
    """A constraint that leaves one token at a time."""

    ended = False

    def forced(self) -> list[int]:
        """Many."""
        return [7] * 99


def test_forced_tokens_end_in_time_as_well() -> None:
    """They are rows of the step like any others."""
    target = scheduler(blocks=200, budget=512)
    for sequence in arrive(target, 3, 2):
        sequence.matcher = Forcing()  # type: ignore[assignment] # nothing else is asked of it
    assert sum(work.rows for work in target.schedule(None, 40)) == 40


def test_forced_tokens_are_bounded_by_the_logits_of_a_step() -> None:
    """All sequences' together, and beside the prompts whose logits are wanted."""
    target = scheduler(budget=64)
    target.max_step_scores = 10
    for sequence in share(target, [[5, 6, 7], [8, 9]]):
        sequence.matcher = Forcing()  # type: ignore[assignment] # nothing else is asked of it
    assert [len(work.draft) for work in target.schedule()] == [10, 0]


def test_blocks_with_wrong_guesses_are_not_shared() -> None:
    """The state of what was not said is no beginning of anything."""
    target = scheduler(budget=64, drafts=8)
    prompt = [5, 0, *range(100, 100 + BLOCK_TOKENS - 5), 5]  # two places are left in its block
    (first,) = share(target, [prompt])
    run(target, target.schedule())
    (work,) = target.schedule()
    assert work.draft[1:] == tuple(range(101, 108))
    run(target, [work])
    target.remove(first)
    (second,) = share(target, [[*prompt, 0, *work.draft, 9]])
    target.schedule()
    assert second.reused == 0


def test_nobody_gives_way_to_a_guess() -> None:
    """A draft that needs a block which another may need is left out."""
    target = scheduler(blocks=3, budget=64, drafts=8)
    (first,) = share(target, [[5, 0, *range(100, 100 + BLOCK_TOKENS - 5), 5]])
    (second,) = share(target, [[6] * 3])
    run(target, target.schedule())
    step = target.schedule()
    assert [(work.sequence, work.draft) for work in step] == [(first, ()), (second, ())]
