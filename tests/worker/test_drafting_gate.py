"""Drafting on simulated machines, against the same without: it wins where it can, and is silent elsewhere."""

import random
from dataclasses import dataclass

import pytest

from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.stepping.draft_price import CAUTION
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation
from tests.worker.engines import request

TOKENS = 128
"""Tokens of each answer."""


@dataclass(frozen=True)
class Machine:
    """What steps take, in milliseconds, give or take a part of it."""

    base: float
    row: float
    draft: float
    """A row of a draft."""
    noise: float = 0.05

    def seconds(self, rows: int, drafts: int, chance: random.Random) -> float:
        """The time of one step."""
        exact = self.base + self.row * rows + self.draft * drafts
        return exact / 1e3 * max(0.5, chance.gauss(1.0, self.noise))


def text(count: int, repeats: float, chance: random.Random) -> list[int]:
    """Tokens of which a part follow as they did before, wherever the last two stood before."""
    tokens = [chance.randrange(40), chance.randrange(40)]
    after: dict[tuple[int, int], int] = {}
    while len(tokens) < count:
        known = after.get((tokens[-2], tokens[-1]))
        token = known if known is not None and chance.random() < repeats else int(40 * chance.random() ** 3)
        after[tokens[-2], tokens[-1]] = token
        tokens.append(token)
    return tokens


def gain(
    machine: Machine, streams: int, repeats: float, *, greedy: bool, rounds: int = 8, seed: int = 1
) -> float:
    """Tokens per second with drafts, relative to those without."""
    chance = random.Random(seed)
    pacing = Pacing()
    for rows in (1, 32, 64, 128):  # the prompts before
        pacing.observe(rows, machine.seconds(rows, 0, chance))
    target = Speculation("auto", pacing)
    spent = generated = 0.0
    for _ in range(rounds):
        running: dict[SequenceState, list[int]] = {}
        for order in range(streams):
            truth = text(64 + TOKENS, repeats, chance)
            asked = request(truth[:64], TOKENS, sampling=Sampling(temperature=0.0 if greedy else 1.0))
            running[SequenceState(asked, mailbox=None, choice=0, arrival=order, submitted_at=0.0)] = truth  # type: ignore[arg-type]
        while running:
            plan = target.plan(running, len(running), 256)
            drafts = sum(map(len, plan.values()))
            seconds = machine.seconds(len(running), drafts, chance)
            spent += seconds
            rows, accepted = len(running), 0
            for sequence, truth in tuple(running.items()):
                draft, place = plan.get(sequence, ()), len(sequence.tokens)
                right = 0
                while right < len(draft) and draft[right] == truth[place + right]:
                    right += 1
                generated += right + 1
                accepted += right
                sequence.tokens.extend(truth[place : place + right + 1])
                if draft:
                    sequence.drafter.settle(right)
                if len(sequence.tokens) >= len(truth):
                    del running[sequence]
            if drafts:
                pacing.observe_drafts(rows, drafts, accepted, seconds, greedy=greedy)
            else:
                pacing.observe(rows, seconds)
    # Without drafts a round is as many steps as an answer has tokens.
    without = rounds * TOKENS * (machine.base + machine.row * streams) / 1e3
    return (generated / spent) / (rounds * TOKENS * streams / without)


LAPTOP = Machine(base=4.0, row=0.25, draft=0.4)
DEAR = Machine(base=4.0, row=0.25, draft=1.2)
WIDE = Machine(base=20.0, row=0.05, draft=0.06)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("streams", [1, 8, 16])
@pytest.mark.parametrize("machine", [LAPTOP, DEAR], ids=["laptop", "dear"])
def test_drawn_text_loses_nothing(machine: Machine, streams: int, seed: int) -> None:
    """It seldom repeats itself, and a token that is drawn costs more than a row of a prompt."""
    assert gain(machine, streams, 0.1, greedy=False, seed=seed) >= 0.99


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("streams", [1, 8])
def test_new_text_loses_nothing(streams: int, seed: int) -> None:
    """Nor where the likeliest token is taken and the text has no past."""
    assert gain(LAPTOP, streams, 0.0, greedy=True, seed=seed) >= 0.99


@pytest.mark.parametrize(
    ("machine", "streams", "least"), [(LAPTOP, 1, 2.5), (LAPTOP, 8, 1.15), (DEAR, 1, 1.6), (WIDE, 8, 2.5)]
)
def test_text_that_repeats_itself_wins(machine: Machine, streams: int, least: float) -> None:
    """The more, the cheaper a row is beside a step."""
    assert gain(machine, streams, 0.98, greedy=True) >= least


def test_what_is_drawn_may_win_too() -> None:
    """It is what was measured that counts."""
    assert gain(WIDE, 1, 0.9, greedy=False) >= 1.8


def test_a_price_that_was_found_too_high_is_found_anew() -> None:
    """A machine that was held up for a while drafts again when it is not."""
    pacing = Pacing()
    for rows in (1, 32, 64, 128) * 3:
        pacing.observe(rows, 0.004 + 0.00025 * rows)
    for _ in range(20):
        pacing.observe_drafts(1, 2, 0, 1.0, greedy=True)
    dear = pacing.draft_price(True)
    assert dear > 4
    assert pacing.draft_price(False) == CAUTION
    for _ in range(4000):
        pacing.observe(1, 0.00425)
    assert pacing.draft_price(True) < 0.5 * dear


def test_drafts_that_disappoint_lower_what_is_expected() -> None:
    """Of this sequence, for a while: tokens that pass restore it."""
    sequence = SequenceState(
        request([1, 2, 3] * 20, 500),
        mailbox=None,  # type: ignore[arg-type] # nobody hears it
        choice=0,
        arrival=0,
        submitted_at=0.0,
    )
    drafter = sequence.drafter
    sequence.tokens += [1, 2, 3] * 10
    drafter.update()
    before = drafter.chance(1)
    for _ in range(6):
        drafter.draft(4)
        drafter.settle(0)
    assert drafter.chance(1) < 0.5 * before
    sequence.tokens += [1, 2, 3] * 80
    drafter.update()
    assert drafter.chance(1) > 0.9 * before
