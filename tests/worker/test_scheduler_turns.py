"""Whose turn it is: by priority first, then by what each tenant was served."""

from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from tests.worker.engines import request
from tests.worker.scheduling import counts, run, scheduler, sequence, share


def test_priority_goes_first_and_gives_way_last() -> None:
    """A waiting sequence of higher priority is admitted first; in need, the lowest priority is preempted."""
    target = scheduler(running=1)
    low, high = (sequence(request([i] * 5, 100, priority=p), i) for i, p in enumerate([0, 3]))
    target.add(low)
    target.add(high)
    assert counts(target.schedule()) == {1: 5}
    tight = scheduler(blocks=3)
    tight.add(high)
    run(tight, tight.schedule())
    tight.add(low)
    while not low.preempted and high.generated < 3 * BLOCK_TOKENS - 6:
        run(tight, tight.schedule())
    assert (low.preempted, high.preempted) == (True, False)


def test_a_tenant_that_asks_little_is_not_behind_one_that_asks_much() -> None:
    """With one place, tenants take turns by what they were served, whatever the queue and the salts."""
    target = scheduler(running=1)
    prompts = [[100 * i + k for k in range(8)] for i in range(6)]
    share(target, prompts[:5], [f"salt {i}" for i in range(5)], tenant="greedy")
    order = []
    run(target, target.schedule())
    (modest,) = share(target, prompts[5:], tenant="modest")
    while target.running:
        (sequence,) = target.running
        order.append(sequence.request.tenant)
        target.remove(sequence)
        run(target, target.schedule())
    assert order == ["greedy", "greedy", "modest", "greedy", "greedy", "greedy"]
    assert modest.generated == 1


def test_a_tenant_with_twice_the_share_has_twice_the_turns() -> None:
    """While both wait, whatever came first."""
    target = scheduler(running=1)
    prompts = [[100 * i + k for k in range(8)] for i in range(16)]
    share(target, prompts[:8], tenant="small")
    share(target, prompts[8:], tenant="large", part=2.0)
    order = []
    for _ in range(9):
        run(target, target.schedule())
        (sequence,) = target.running
        order.append(sequence.request.tenant)
        target.remove(sequence)
    assert (order.count("large"), order.count("small")) == (6, 3)
