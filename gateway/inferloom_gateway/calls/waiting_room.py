"""Where requests wait while every worker that could take them is full."""

import asyncio
from collections.abc import Callable

from inferloom_gateway.calls.attempts import Attempts
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.waiting_line import Place, WaitingLine, no_room
from inferloom_mesh.errors import InferloomError


class WaitingRoom(Listener):
    """Lets requests wait for a short while, and says whose turn it is to ask a worker again.

    One has its turn for each call that ends, when a worker's own time is over, when workers came or went, and
    when the one before it was taken or is over: so workers that are full are asked about as often as they
    have room. While no worker is there at all, nobody waits here.

    Args:
        most: Requests that may wait ahead of another, for one model; 0: none waits here.
        most_s: Seconds that a request may have to wait, as far as can be told.
        clock: Monotonic seconds.
    """

    def __init__(self, most: int, most_s: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._most_s = most_s
        self._clock = clock
        self._lines: dict[str, WaitingLine] = {}
        self._turns: dict[Place, asyncio.Future[None]] = {}
        self._timers: dict[str, tuple[asyncio.TimerHandle, float]] = {}
        """When somebody may ask whatever happens until then, by model."""

    @property
    def waiting(self) -> int:
        """Requests that wait, for all models."""
        return len(self._turns)

    async def turn(self, attempts: Attempts, record: Record, place: Place | None) -> Place | None:
        """Wait until a worker may be asked, which is at once where one may have room and nobody waits.

        Args:
            attempts: The call's.
            record: Its request's.
            place: The place that it has had before.

        Returns:
            Its place in the line, if it had to wait and there still is a worker to wait for.

        Raises:
            InferloomError: SERVER_OVERLOADED, at once where it would wait too long.
        """
        if not self._most or record.context.stands_back:  # who does asks again by himself
            return place
        now, model = self._clock(), record.model
        retry_s = attempts.full_s(now)
        line = self._lines.get(model)
        if retry_s is None and (place is not None or line) and attempts.away():
            self._call(model)  # who is behind it finds out for itself
            return None
        if retry_s is None and (place is not None or not line):
            return place
        try:
            if place is not None and now + (retry_s or 0.0) >= place.until:
                raise no_room(retry_s or 0.0)  # it has waited for long enough
            if line is None:
                line = self._lines[model] = WaitingLine(self._most, self._most_s)
            left_s = record.context.time_left(now)
            if place is None:
                place = line.join(record.context.tenant, now, left_s, retry_s or 0.0)
            else:
                line.again(place)
            self._look_at(model, retry_s)
            if record.lined_up_s is None:
                record.lined_up_s = now - record.began
            most_s = place.until - now if left_s is None else min(place.until - now, left_s)
            await self._wait(model, line, place, most_s)
        except InferloomError as error:
            record.error = attempts.why_full(error)
            raise record.error from None
        attempts.again()
        return None if attempts.away() else place

    def workers_changed(self, serves: Callable[[str], bool]) -> None:
        """Workers came, went, or can be reached again; ``serves`` tells whether any is there for a model."""
        for model, line in self._lines.items():
            if serves(model):
                self._call(model)
                continue
            line.forget()
            while line:
                self._call(model)

    def passed(self, model: str) -> None:
        """A request that had its turn was taken by a worker, or is over: the next one may be taken, too."""
        self._call(model)

    def on_ended(self, record: Record) -> None:
        """A request that a worker had is over: there is room for another."""
        line = self._lines.get(record.model)
        if line is not None and any(each.accepted_s is not None for each in record.attempts):
            line.departed(self._clock())
            self._call(record.model)

    async def _wait(self, model: str, line: WaitingLine, place: Place, most_s: float) -> None:
        turn = self._turns[place] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(max(0.0, most_s)):
                await turn
        except BaseException as failure:
            if turn.done() and not turn.cancelled():
                self._call(model)  # its turn came too late for it
            if isinstance(failure, TimeoutError):
                raise no_room(0.0) from None
            raise
        finally:
            self._turns.pop(place, None)
            line.leave(place)

    def _call(self, model: str) -> None:
        """Let the next one ask."""
        line = self._lines.get(model)
        while line is not None and (place := line.next()) is not None:
            turn = self._turns.get(place)
            if turn is not None and not turn.done():
                turn.set_result(None)
                return

    def _look_at(self, model: str, retry_s: float | None) -> None:
        """Let somebody ask when a worker's own time is over, whatever happens until then."""
        loop = asyncio.get_running_loop()
        due = loop.time() + (retry_s or 0.0)
        if model in self._timers:
            timer, when = self._timers[model]
            if retry_s is None or when <= due:
                return
            timer.cancel()

        def look() -> None:
            del self._timers[model]
            self._call(model)

        self._timers[model] = loop.call_at(due, look), due

    def close(self) -> None:
        """Call nobody any more."""
        for timer, _ in self._timers.values():
            timer.cancel()
        self._timers.clear()
