"""Prompts that begin alike: what is known of them is computed once, and shared."""

from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from tests.worker.scheduling import COMMON, counts, run, scheduler, share


def test_a_prompt_that_begins_alike_computes_only_what_is_new() -> None:
    """After one prompt was read, another with the same beginning shares its blocks."""
    target = scheduler(budget=256)
    (first,) = share(target, [[*COMMON, 1, 2, 3]])
    run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [[*COMMON, 7, 8]])
    assert counts(target.schedule()) == {0: 2}
    assert second.reused == len(COMMON)


def test_a_prompt_seen_whole_still_computes_its_last_token() -> None:
    """The last token's logits are needed, so its block is computed again."""
    target = scheduler(budget=256)
    (first,) = share(target, [COMMON])
    run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [COMMON])
    assert counts(target.schedule()) == {0: BLOCK_TOKENS}
    assert second.reused == len(COMMON) - BLOCK_TOKENS


def test_an_answer_is_reused_by_the_next_turn() -> None:
    """Generated tokens are known like prompt tokens."""
    target = scheduler(budget=256)
    (first,) = share(target, [COMMON])
    while first.generated < 2 * BLOCK_TOKENS:
        run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [[*first.tokens, 5]])
    target.schedule()
    assert second.reused >= len(COMMON) + BLOCK_TOKENS


def test_others_wait_for_a_beginning_that_is_being_computed() -> None:
    """Prompts that arrive together and begin alike are read once; a different one is not held up."""
    target = scheduler(budget=32)
    share(target, [[*COMMON, 1], [*COMMON, 2], list(range(20))])
    steps = []
    for _ in range(5):
        step = target.schedule()
        steps.append(counts(step))
        run(target, step)
    assert sum(step.get(0, 0) for step in steps) >= len(COMMON) + 1
    assert sum(step.get(1, 0) for step in steps) < BLOCK_TOKENS
    assert any(2 in step for step in steps)


def test_a_beginning_whose_owner_leaves_is_computed_by_the_next() -> None:
    """An abort in the middle of a prompt leaves nobody waiting."""
    target = scheduler(budget=16)
    first, second = share(target, [[*COMMON, 1], [*COMMON, 2]])
    run(target, target.schedule())
    target.remove(first)
    assert counts(target.schedule()) == {1: 16}
    assert second.reused == BLOCK_TOKENS


def test_tenants_share_nothing() -> None:
    """Another salt finds nothing."""
    target = scheduler(budget=256)
    (first,) = share(target, [[*COMMON, 1]], ["a"])
    run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [[*COMMON, 1]], ["b"])
    target.schedule()
    assert second.reused == 0


def test_the_least_recently_used_beginning_goes_first() -> None:
    """When memory is needed, old prompts are forgotten, the end of each before its beginning."""
    target = scheduler(blocks=10, budget=256)
    other = [t + 5000 for t in COMMON]
    for prompt in ([*COMMON, 1], [*other, 1]):
        (sequence,) = share(target, [prompt])
        run(target, target.schedule())
        target.remove(sequence)
    (large,) = share(target, [list(range(3 * BLOCK_TOKENS))])
    run(target, target.schedule())
    target.remove(large)
    (new,) = share(target, [[*other, 2]])
    target.schedule()
    assert new.reused == len(COMMON)
    target.remove(new)
    (old,) = share(target, [[*COMMON, 2]])
    target.schedule()
    assert old.reused < len(COMMON)
