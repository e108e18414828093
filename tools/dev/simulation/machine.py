"""A simulated worker."""

from collections import deque
from dataclasses import dataclass

from simulation.request import BLOCK, Request


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a worker can do; about a model of eight billion parameters on one large GPU."""

    slots: int = 64
    """Requests that it runs at once."""
    cache_blocks: int = 6000
    """Blocks that its prefix cache keeps, the least recently used going first."""
    prefill_s: float = 1e-4
    """Seconds for a token of a prompt that is not cached; prompts are read one after another."""
    prompt_s: float = 0.005
    """Seconds for any prompt."""
    step_s: float = 0.012
    """Seconds for a token of a request that runs alone."""
    row_s: float = 0.00025
    """Seconds more for each other request that runs."""


class Machine:
    """Slots, a queue in order of arrival, and a prefix cache.

    A simplification: how long a request's tokens take is decided by the batch that it joins, and reading
    prompts does not hold up tokens.
    """

    def __init__(self, hardware: Hardware) -> None:
        self.slowness = 1.0
        """How many times longer everything takes."""
        self.running: set[Request] = set()
        self.waiting: deque[Request] = deque()
        self._hardware = hardware
        self._cache: dict[int, None] = {}
        self._free_at = 0.0

    @property
    def load(self) -> int:
        """Requests that it has."""
        return len(self.running) + len(self.waiting)

    def take(self, request: Request, now: float) -> bool:
        """Take a request; whether it starts at once, which sets when it ends."""
        if len(self.running) >= self._hardware.slots:
            self.waiting.append(request)
            return False
        self._start(request, now)
        return True

    def finish(self, request: Request, made: list[int], now: float) -> Request | None:
        """End a request, and keep the blocks that were made; the one that starts in its place."""
        self.running.discard(request)
        self._keep(request.blocks + made)
        if not self.waiting:
            return None
        following = self.waiting.popleft()
        self._start(following, now)
        return following

    def _start(self, request: Request, now: float) -> None:
        hardware, cache = self._hardware, self._cache
        cached = 0
        for block in request.blocks:
            if block not in cache:
                break
            cached += 1
        request.cached = cached
        work = (len(request.blocks) - cached) * BLOCK * hardware.prefill_s + hardware.prompt_s
        request.began = max(now, self._free_at)
        self._free_at = request.began + work * self.slowness
        request.first = self._free_at
        step = hardware.step_s + hardware.row_s * len(self.running)
        request.finish = request.first + request.output * step * self.slowness
        self.running.add(request)
        self._keep(request.blocks)

    def _keep(self, blocks: list[int]) -> None:
        """Note a use of blocks, the first ones last, because the others are of no use without them."""
        cache = self._cache
        for block in reversed(blocks):
            if block in cache:
                del cache[block]
            cache[block] = None
        over = len(cache) - self._hardware.cache_blocks
        if over > 0:
            for block in [block for block, _ in zip(cache, range(over), strict=False)]:
                del cache[block]
