"""A clock that tests move."""

import asyncio


class FakeClock:
    """Seconds that pass only when a test says so; its ``sleep`` ends when enough have."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake who has slept enough."""
        self.now += seconds
        waking = [sleeper for until, sleeper in self._sleepers if until <= self.now]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self.now]
        for sleeper in waking:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Wait until ``seconds`` of this clock have passed."""
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, woken))
        await woken
