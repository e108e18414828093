"""The scheduler's policy, with no model and no clock: who is in a step, with how many rows, who gives way."""

from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom_worker.engine.options import SpeculationSetting
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, blocks_for
from inferloom_worker.stepping.pacing import LEAST_ROWS
from inferloom_worker.stepping.work import Work
from tests.worker.scheduling import arrive, counts, moved, run, scheduler


def test_a_long_prompt_is_read_in_chunks_beside_decoding() -> None:
    """Running streams get their token in every step; the prompt takes what is left of the budget."""
    target = scheduler()
    arrive(target, 10)
    run(target, target.schedule())
    arrive(target, 80)
    steps = []
    for _ in range(4):
        step = target.schedule()
        steps.append(counts(step))
        run(target, step)
    assert steps == [{0: 1, 1: 31}, {0: 1, 1: 31}, {0: 1, 1: 18}, {0: 1, 1: 1}]


def test_a_step_has_no_more_rows_than_end_in_time() -> None:
    """Those that decode are always in it, and a prompt gets on a little beside them."""
    target = scheduler(blocks=2000, running=64, budget=512)
    arrive(target, *[4] * 20)
    run(target, target.schedule(None, 512))
    arrive(target, 300)
    step = target.schedule(None, 40)
    assert sum(counts(step).values()) == 40
    run(target, step)
    step = target.schedule(None, 1)
    assert [counts(step)[arrival] for arrival in range(20)] == [1] * 20
    assert counts(step)[20] == LEAST_ROWS


def test_sequences_join_in_order_up_to_the_limit() -> None:
    """No more than ``max_running`` run, and the first to come is the first to run."""
    target = scheduler(running=2)
    first, second, third = arrive(target, 5, 5, 5)
    assert counts(target.schedule()) == {0: 5, 1: 5}
    target.remove(first)
    run(target, [Work(second, 5, True)])
    assert counts(target.schedule()) == {1: 1, 2: 5}
    assert third in target.running


def test_the_latest_gives_way_when_memory_runs_out() -> None:
    """A sequence that needs a block takes it from the latest arrival, which starts over from its tokens."""
    target = scheduler(blocks=4, budget=64)
    early, late = arrive(target, 2 * BLOCK_TOKENS - 1, BLOCK_TOKENS)
    for _ in range(2):
        run(target, target.schedule())
    assert counts(target.schedule()) == {0: 1, 1: 1} or late.preempted
    while not late.preempted:
        run(target, target.schedule())
    assert early in target.running
    assert (late.computed, late.blocks) == (0, [])
    assert late in target.waiting


def test_removing_frees_everything_and_twice_is_harmless() -> None:
    """Waiting and running sequences leave without a trace."""
    target = scheduler(running=1)
    running, waiting = arrive(target, 20, 20)
    target.schedule()
    for sequence in (running, waiting, running, waiting):
        target.remove(sequence)
    assert target.pool.free == target.pool.count
    assert target.schedule() == []


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=12),
    elsewhere=st.lists(st.integers(5, 120), max_size=4),
    blocks=st.integers(16, 40),
    budget=st.integers(4, 64),
    drafts=st.sampled_from(["off", 1, 8]),
)
def test_everyone_finishes_whatever_the_sizes(
    lengths: list[int], elsewhere: list[int], blocks: int, budget: int, drafts: SpeculationSetting
) -> None:
    """Every sequence gets its tokens, no step exceeds its budget, no block has two owners."""
    target = scheduler(blocks=blocks, running=5, budget=budget, drafts=drafts)
    unfinished = set(arrive(target, *lengths))
    for each in moved(target, *elsewhere, said=0):
        each.moved = True
        unfinished.add(each)
    for _ in range(20_000):
        step = target.schedule()
        assert sum(work.rows for work in step) <= budget
        owned = [b for s in target.running for b in s.blocks]
        assert len(set(owned)) == target.pool.count - target.pool.free
        assert all(len(w.sequence.blocks) >= blocks_for(w.sequence.computed + w.rows) for w in step)
        run(target, step)
        for sequence in [s for s in unfinished if s.generated >= 20]:
            assert sequence.tokens[-sequence.generated :][:20] == [i // 5 % 3 for i in range(20)]
            target.remove(sequence)
            unfinished.discard(sequence)
        if not unfinished:
            break
        assert step, "somebody waits and nobody runs"
    assert not unfinished


def test_prompts_are_paced_by_who_decodes_and_who_waits() -> None:
    """Beside decoding, a step reads what pacing allows for the sequences that decode and those that read."""
    target = scheduler(running=2)
    arrive(target, 1)
    run(target, target.schedule())
    arrive(target, 40, 40, 40)
    asked: list[tuple[int, int]] = []

    def prompt_rows(decoding: int, reading: int) -> int:
        asked.append((decoding, reading))
        return 5

    steps = [target.schedule(prompt_rows)]
    run(target, steps[0])
    steps.append(target.schedule(prompt_rows))
    assert asked == [(1, 3), (1, 3)]
    assert [[work.count for work in step] for step in steps] == [[1, 5], [1, 5]]
