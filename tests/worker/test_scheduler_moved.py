"""Sequences that were begun elsewhere: they are read before what is new, and keep nobody waiting for it."""

from functools import partial

import pytest

from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.scheduler import MOVED_WEIGHT, Scheduler
from tests.worker.scheduling import arrive, counts, moved, paced, run, scheduler, share, steps_until


def test_what_stands_still_is_read_faster() -> None:
    """Beside one that decodes, an answer that was generated elsewhere asks for more of a step than one that
    begins; no longer when it goes on."""
    for new, weight in ((arrive, 1), (moved, MOVED_WEIGHT)):
        wanted: list[int] = []

        def rows(decoding: int, reading: int, wanted: list[int] = wanted) -> int:
            wanted.append(reading)
            return 32

        target = scheduler()
        arrive(target, 4)
        run(target, target.schedule(rows))
        new(target, 20)
        for _ in range(2):
            run(target, target.schedule(rows))
        assert wanted == [weight, 0]


def test_one_that_stands_still_is_read_at_once_beside_many() -> None:
    """Others that stood still with it wait for its first token. What has less priority than what decodes, as
    lines of batches have, and what only gave its memory back, take no more of a step for that."""
    pacing = paced()
    steps = []
    news = (arrive, moved, partial(moved, priority=-1), partial(moved, tenant="gave way"))
    for new in news:
        target = scheduler(blocks=2000, running=64, budget=512)
        arrive(target, *[40] * 8)
        until_all_decode(target, pacing)
        (came,) = new(target, 65)
        came.preempted = came.request.tenant == "gave way"
        steps.append(0)
        while came.remaining > 1:
            run(target, target.schedule(pacing.prompt_rows))
            steps[-1] += 1
    plain, quick, less_urgent, gave_way = steps
    assert quick <= 0.5 * plain
    assert less_urgent > 0.8 * plain
    assert gave_way > 0.8 * plain


def test_what_was_generated_elsewhere_is_read_as_one_prompt_before_what_is_new() -> None:
    """Beside a prompt that is being read it has half, and the rest goes on; what waits comes behind it."""
    target = scheduler()
    arrive(target, 100)
    run(target, target.schedule())
    arrive(target, 10)
    (there,) = moved(target, 25)
    first = target.schedule()
    assert counts(first) == {2: 16, 0: 16}
    run(target, first)
    second = target.schedule()
    assert counts(second) == {2: 14, 0: 18}
    run(target, second)
    assert there.remaining == 1
    assert counts(target.schedule()) == {2: 1, 0: 31}


def until_all_decode(target: Scheduler, pacing: Pacing) -> None:
    """Run steps until every prompt is read."""
    while any(each.remaining > 1 for each in target.sequences()):
        run(target, target.schedule(pacing.prompt_rows))


def test_who_reads_already_is_made_to_wait_less() -> None:
    """Sixteen streams, half of which come from a lost worker, beside a long prompt that is new: the steps
    until all go on are far fewer, and none of them is much longer for those that were there."""
    seen = []
    for known in (False, True):
        pacing = paced()
        target = scheduler(blocks=2000, running=64, budget=512)
        arrive(target, *[40] * 8)
        until_all_decode(target, pacing)
        arrive(target, 2000)
        run(target, target.schedule(pacing.prompt_rows))
        came = moved(target, *[60] * 8, said=60)
        for each in came:
            each.moved = known
        steps, longest = 0, 0
        while any(each.remaining > 1 for each in came):
            step = target.schedule(pacing.prompt_rows)
            run(target, step)
            steps, longest = steps + 1, max(longest, sum(work.rows for work in step))
        seen.append((steps, longest))
    (plain, short), (steps, longest) = seen
    assert steps < 0.35 * plain
    assert longest <= 2 * short


def test_what_was_generated_elsewhere_is_no_way_past_a_higher_priority() -> None:
    """A request may say of anything that some of it was."""
    target = scheduler(blocks=4000)
    (urgent,) = share(target, [list(range(30))], tenant="b", priority=5)
    moved(target, *[500] * 40, said=1, tenant="a")
    assert steps_until(target, urgent) == 1


@pytest.mark.parametrize("tenant", ["a", "b"])
def test_what_was_generated_elsewhere_keeps_nothing_new_waiting(tenant: str) -> None:
    """Neither another tenant's nor its own tenant's, before or after its prompts have begun to be read."""
    for begun in (0, 3):
        target = scheduler(blocks=4000)
        moved(target, *[500] * 40, said=1, tenant="a")
        for _ in range(begun):
            run(target, target.schedule())
        (new,) = share(target, [list(range(30))], tenant=tenant)
        assert steps_until(target, new) <= 4


def test_what_was_generated_elsewhere_is_charged_as_what_is_read() -> None:
    """A tenant whose streams were lost pays for their prompts once, as others do."""
    target = scheduler(running=1, budget=200)
    moved(target, 60, tenant="a")
    share(target, [list(range(100, 200))], tenant="b")
    share(target, [list(range(300, 310))], tenant="a")
    share(target, [list(range(400, 410))], tenant="b")
    order = []
    for _ in range(4):
        run(target, target.schedule())
        (sequence,) = target.running
        order.append(sequence.arrival)
        target.remove(sequence)
    assert order == [0, 1, 2, 3]


def test_of_one_tenants_the_moved_and_the_new_take_turns() -> None:
    """The moved go first, and half of the places stay for the others."""
    target = scheduler(blocks=4000, budget=400)
    share(target, [[100 * i + k for k in range(20)] for i in range(10)])
    came = moved(target, *[20] * 10)
    run(target, target.schedule())
    assert sum(each.moved for each in target.running) == 4
    assert len(target.running) == 8
    target.remove(next(each for each in target.running if each.moved))
    run(target, target.schedule())
    assert came[4] in target.running


def test_moved_sequences_that_cannot_join_make_no_step_longer() -> None:
    """Than as many others that wait."""
    rows = []
    for known in (False, True):
        pacing = paced()
        target = scheduler(blocks=2000, running=5, budget=512)
        arrive(target, *[40] * 4)
        until_all_decode(target, pacing)
        arrive(target, 500)
        run(target, target.schedule(pacing.prompt_rows))
        for each in moved(target, *[150] * 10):
            each.moved = known
        rows.append(sum(work.rows for work in target.schedule(pacing.prompt_rows)))
    assert rows[0] == rows[1]


def test_a_moved_sequence_takes_no_memory_that_a_prompt_still_needs() -> None:
    """It waits until both fit, which costs nobody a step that is computed twice."""
    target = scheduler(blocks=40, budget=64)
    (first,) = arrive(target, 500)
    run(target, target.schedule())
    came = moved(target, 150, 150, 150)
    assert steps_until(target, first) == 7
    assert not any(each.preempted for each in came)
    assert target.short_of_memory


def test_whoever_lacks_memory_is_remembered_when_others_have_joined() -> None:
    """Moved sequences are tried first, and no row may be left for anybody else."""
    target = scheduler(blocks=40, budget=64)
    arrive(target, 500)
    run(target, target.schedule())
    moved(target, 300)
    target.schedule()
    assert target.short_of_memory


def test_moved_sequences_that_do_not_fit_give_way_to_earlier_ones() -> None:
    """Whatever room there is, everybody comes to his end."""
    target = scheduler(blocks=16, budget=16)
    sequences = [*arrive(target, 60, 100), *moved(target, 90, 40), *arrive(target, 30)]
    for _ in range(2000):
        for each in sequences:
            if each.generated >= 20:
                target.remove(each)
        if not (step := target.schedule()):
            break
        assert sum(work.rows for work in step) <= 16
        assert len({work.sequence for work in step}) == len(step)
        run(target, step)
    assert not tuple(target.sequences())
    assert target.pool.free == 16


def test_who_waits_in_vain_counts_once_wherever_it_comes_from() -> None:
    """Steps are longer by the number of those that wait, and by no more for an answer that cannot join."""
    target = scheduler(running=2)
    arrive(target, 1)
    run(target, target.schedule())
    arrive(target, 40)
    target.schedule()
    moved(target, 40)
    asked: list[tuple[int, int]] = []

    def prompt_rows(decoding: int, reading: int) -> int:
        asked.append((decoding, reading))
        return 5

    target.schedule(prompt_rows)
    assert asked == [(1, 2)]
