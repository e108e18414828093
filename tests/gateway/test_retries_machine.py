"""Workers that are killed, drained and come back, in whichever order: calls go on, and nobody is stormed."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.records import Attempt, Record, Records
from tests.gateway.dying_workers import DRAINS
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import DRAINING, READY, Mesh, state

CALLS = 60


@dataclass
class Worker:
    """One of the workers of the play below."""

    name: str
    epoch: int = 1
    said: Any = READY
    """What the registry says of it; None: nothing."""


@dataclass
class Play:
    """A mesh whose workers are killed and drained, and come back. Made on its loop."""

    chance: random.Random
    mesh: Mesh = field(default_factory=Mesh)
    workers: list[Worker] = field(default_factory=list)

    def tell(self) -> None:
        """The registry says what it knows."""
        known = [each for each in self.workers if each.said is not None]
        self.mesh.tell(*(state(each.name, each.said, epoch=each.epoch) for each in known))

    async def live(self, worker: Worker, until: float) -> None:
        """One worker's life: it runs, ends in some way, and comes back, again and again."""
        pause = self.chance.uniform
        while True:
            await asyncio.sleep(pause(0.5, 4))
            if self.mesh.clock() > until:
                return
            link = self.mesh.link(worker.name)
            if self.chance.random() < 0.5:
                link.always = DRAINS
                await asyncio.sleep(pause(0, 1))
                worker.said = DRAINING
                self.tell()
                await asyncio.sleep(pause(0, 2))
                for sink in list(link.open):
                    link.left(sink)
                    sink.end(CallFailedError(attempt.refused(DRAINS)))
            else:
                link.lose()
            link.dead, link.always = True, None
            await asyncio.sleep(pause(0, 1))
            worker.said = None
            self.tell()
            await asyncio.sleep(pause(0.2, 3))
            self.mesh.links[worker.name].dead = False
            worker.epoch, worker.said = worker.epoch + 1, READY
            self.tell()


def lost_with(record: Record) -> list[Attempt]:
    """The attempts of a request whose workers were lost."""
    return [each for each in record.attempts if each.why == "disconnected"]


@pytest.mark.parametrize("seed", range(12))
def test_whoever_dies_and_in_whichever_order_calls_go_on(seed: int) -> None:
    """But for those that two workers were lost with, which had accepted them. A worker that ends is asked by
    none a second time, and one that says not now only when its time is over."""

    async def playing() -> tuple[list[Any], list[Record]]:
        play = Play(random.Random(seed))
        mesh, chance = play.mesh, play.chance
        mesh.token_s = chance.choice([0.05, 0.5, 2.0])
        play.workers = [Worker(f"w{number}") for number in range(chance.randint(1, 4))]
        play.tell()
        records = Records(10 * CALLS)
        mesh.dispatcher.listeners.add(records)
        lives = [asyncio.create_task(play.live(each, until=15)) for each in play.workers]
        asked: list[asyncio.Task[int]] = []
        for number in range(CALLS):
            asked += mesh.ask(1, number)
            await asyncio.sleep(chance.uniform(0, 0.4))
        await asyncio.gather(*lives)
        return await mesh.answers(asked), list(records)

    answers, records = run(playing())
    assert len(records) == CALLS
    failed = [each for each in records if each.error is not None]
    for each in failed:
        assert sum(lost.accepted_s is not None for lost in lost_with(each)) >= 2
    assert sum(isinstance(each, int) for each in answers) == CALLS - len(failed)
    for each in records:
        lives = Counter((lost.worker, lost.epoch) for lost in lost_with(each))
        assert not lives or max(lives.values()) == 1
        refused = [attempt for attempt in each.attempts if attempt.why == "no_worker"]
        for earlier, later in combinations(refused, 2):
            same = (later.worker, later.epoch) == (earlier.worker, earlier.epoch)
            assert not same or later.began_s >= earlier.began_s + 0.99
