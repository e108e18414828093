"""Simulated workers that compute step by step, so that what joins or leaves is felt by all that run."""

from collections import deque
from dataclasses import dataclass, field

from simulation.machine import Hardware
from simulation.request import BLOCK, Request

CHUNK = 512
"""Tokens of prompts that one step reads."""


@dataclass(slots=True, eq=False)
class Stream:
    """One answer under way."""

    request: Request
    unread: int = 0
    """Tokens that its worker has to read before the next comes."""
    told: int = 0
    """Tokens that its client has."""
    last: float = 0.0
    """When the last came."""
    pause: float = 0.0
    """Longest time from one to the next."""
    moves: int = 0

    @property
    def context(self) -> int:
        """Tokens that a worker must have read to go on with it."""
        return len(self.request.blocks) * BLOCK + self.told


@dataclass(slots=True)
class StepMachine:
    """A worker: slots, a queue in order of arrival, a prefix cache, and steps that read a chunk of prompts
    beside a token for each stream."""

    hardware: Hardware
    slowness: float = 1.0
    running: list[Stream] = field(default_factory=list)
    waiting: deque[Stream] = field(default_factory=deque)
    stepping: bool = False
    _cache: dict[int, None] = field(default_factory=dict)

    @property
    def load(self) -> int:
        """Streams that it has."""
        return len(self.running) + len(self.waiting)

    def take(self, stream: Stream, *, ahead: bool = False) -> None:
        """Take a stream; one that was moved goes ahead of those that have nothing yet."""
        if ahead:
            self.waiting.appendleft(stream)
        else:
            self.waiting.append(stream)

    def step(self, now: float) -> tuple[float, list[Stream]]:
        """Begin a step: how long it takes, and which streams have a token at its end."""
        while self.waiting and len(self.running) < self.hardware.slots:
            self._admit(self.waiting.popleft(), now)
        room, telling = CHUNK, list[Stream]()
        for stream in self.running:
            read = min(room, stream.unread)
            stream.unread -= read
            room -= read
            if not stream.unread:
                telling.append(stream)
        hardware = self.hardware
        seconds = (
            hardware.step_s + hardware.row_s * max(0, len(telling) - 1) + (CHUNK - room) * hardware.prefill_s
        )
        return seconds * self.slowness, telling

    def drop(self, stream: Stream) -> None:
        """Let a stream go."""
        if stream in self.running:
            self.running.remove(stream)
        else:
            self.waiting.remove(stream)

    def keep(self, blocks: list[int]) -> None:
        """Note a use of blocks."""
        cache = self._cache
        for block in reversed(blocks):
            cache.pop(block, None)
            cache[block] = None
        for block in [
            each for each, _ in zip(cache, range(len(cache) - self.hardware.cache_blocks), strict=False)
        ]:
            del cache[block]

    def _admit(self, stream: Stream, now: float) -> None:
        request, cached = stream.request, 0
        for block in request.blocks:
            if block not in self._cache:
                break
            cached += 1
        request.cached, request.began = cached, now
        stream.unread = max(1, stream.context - cached * BLOCK)
        self.running.append(stream)
        self.keep(request.blocks)
