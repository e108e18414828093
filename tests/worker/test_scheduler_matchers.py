"""The memory of matchers: who asks for much of it has his turn, and keeps out nobody who asks for none."""

from dataclasses import dataclass

from inferloom_worker.engine.constraint import Matcher, PortableConstraint
from inferloom_worker.stepping.scheduler import MOST_MATCHER_BYTES
from tests.worker.scheduling import arrive, run, scheduler


@dataclass
class Heavy:
    """A constraint whose matchers take memory, and are counted."""

    bytes: int
    made: int = 0

    @property
    def portable(self) -> PortableConstraint:
        """Nobody asks."""
        raise AssertionError

    def matcher(self) -> Matcher | None:
        """None that does anything."""
        self.made += 1
        return None


def test_matchers_of_those_who_run_fit_into_memory() -> None:
    """Who asks for much waits for others to end, and who asks for less does not wait for him. One alone runs
    whatever it takes."""
    target = scheduler(running=8, budget=64)
    half = Heavy(MOST_MATCHER_BYTES // 2)
    heavy = arrive(target, 4, 4, 4, constraint=half)
    (free,) = arrive(target, 5)
    (light,) = arrive(target, 6, constraint=Heavy(0))
    run(target, target.schedule())
    assert target.running == [heavy[0], heavy[1], free, light]
    target.remove(heavy[0])
    run(target, target.schedule())
    assert heavy[2] in target.running

    alone = scheduler()
    (huge,) = arrive(alone, 4, constraint=Heavy(9 * MOST_MATCHER_BYTES))
    alone.schedule()
    assert alone.running == [huge]


def test_a_grammar_that_takes_much_gets_its_turn() -> None:
    """While it waits no other that takes memory goes before it, and everything else does."""
    target = scheduler(running=8, budget=64)
    small = Heavy(MOST_MATCHER_BYTES // 8)
    for _ in range(7):
        arrive(target, 4, constraint=small)
    run(target, target.schedule())
    (large,) = arrive(target, 5, constraint=Heavy(MOST_MATCHER_BYTES // 2))
    for left in (6, 5, 4):  # one ends, and another like it comes
        target.remove(target.running[0])
        (other,) = arrive(target, 4, constraint=small)
        run(target, target.schedule())
        assert (large in target.running) is (left == 4)
        assert other in target.waiting
    target.remove(target.running[0])
    (free,) = arrive(target, 4)
    run(target, target.schedule())
    assert free in target.running
