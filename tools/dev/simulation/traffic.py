"""What is asked of a simulated mesh."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from simulation.request import BLOCK, Request

_ODD = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of traffic. Lengths are in blocks, times in seconds."""

    name: str
    instructions: int = 0
    """Different instructions that conversations begin with; 0: they share nothing."""
    skew: float = 0.0
    """Exponent of Zipf's law that says how often each is used."""
    instruction_blocks: tuple[int, int] = (16, 48)
    turns: float = 1.0
    """Mean number of turns."""
    first_blocks: tuple[int, int] = (2, 8)
    """What a user says first."""
    turn_blocks: tuple[int, int] = (1, 4)
    """What he says later."""
    output: tuple[int, int] = (50, 350)
    """Tokens of an answer."""
    think_s: float = 20.0
    """Mean time from an answer to the next turn."""
    burst: float = 1.0
    """For 5 s in each minute, so many times more conversations begin."""
    slow_from_s: float = math.inf
    """When one worker becomes ten times slower."""
    change_s: float = math.inf
    """Time from one worker that leaves, and another that comes, to the next."""


WORKLOADS = {
    each.name: each
    for each in (
        Workload("independent", first_blocks=(4, 64)),
        Workload("conversations", instructions=200, skew=0.6, turns=6),
        Workload("instructions", instructions=2000, skew=1.0, instruction_blocks=(32, 64)),
        Workload("one instruction", instructions=1, instruction_blocks=(48, 48), turns=3),
        Workload("bursts", instructions=200, skew=0.6, turns=6, burst=6.0),
        Workload("slow worker", instructions=200, skew=0.6, turns=6, slow_from_s=60.0),
        Workload("changes", instructions=200, skew=0.6, turns=6, change_s=10.0),
    )
}


class Traffic:
    """Makes requests: conversations begin at random moments, and their turns follow the answers."""

    def __init__(self, workload: Workload, rate: float, seed: int) -> None:
        """``rate``: requests a second."""
        self._workload = workload
        self._rate = rate / workload.turns
        self._random = random = Random(seed)
        self._number = 0
        self._instructions = [
            [(1 << 62) | (number << 16) | at for at in range(random.randint(*workload.instruction_blocks))]
            for number in range(workload.instructions)
        ]
        self._weights = [1 / (rank + 1) ** workload.skew for rank in range(workload.instructions)]
        for at in range(1, len(self._weights)):
            self._weights[at] += self._weights[at - 1]

    def beginnings(self) -> Iterator[Request]:
        """The first turns of conversations, in order of time, without end."""
        work, random, now = self._workload, self._random, 0.0
        while True:
            rate = self._rate * (work.burst if now % 60 < 5 else 1.0)
            now += random.expovariate(rate)
            yield self._begin(now)

    def next(self, request: Request, now: float) -> Request | None:
        """The turn after one that was answered; None: it was the last."""
        if not request.turns:
            return None
        work, random = self._workload, self._random
        fresh = self.made(request)
        blocks = request.blocks + fresh
        blocks += self._fresh(request.conversation, len(blocks), random.randint(*work.turn_blocks))
        following = Request(
            now + random.expovariate(1 / work.think_s),
            request.shared,
            request.own,
            blocks,
            random.randint(*work.output),
            request.turns - 1,
        )
        following.turn = request.turn + 1
        following.conversation = request.conversation
        return following

    def made(self, request: Request) -> list[int]:
        """The blocks of a request's answer."""
        return self._fresh(request.conversation, len(request.blocks), request.output // BLOCK)

    def _begin(self, now: float) -> Request:
        work, random = self._workload, self._random
        self._number += 1
        number, shared, blocks = self._number, 0, list[int]()
        if self._instructions:
            (which,) = random.choices(range(len(self._instructions)), cum_weights=self._weights)
            shared = ((which + 1) * _ODD) & _MASK
            blocks = list(self._instructions[which])
        blocks += self._fresh(number, len(blocks), random.randint(*work.first_blocks))
        turns = int(random.expovariate(1 / work.turns)) if work.turns > 1 else 0
        request = Request(
            now, shared, (number * 0xD1342543DE82EF95) & _MASK, blocks, random.randint(*work.output), turns
        )
        request.conversation = number
        return request

    @staticmethod
    def _fresh(conversation: int, at: int, count: int) -> list[int]:
        base = (conversation << 12) + at
        return list(range(base, base + count))
