"""Where requests wait while every worker that could take them is full."""

import asyncio
from collections.abc import Callable

from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.waiting_line import Place, WaitingLine, no_room
from inferloom_gateway.fleet.ask import Wanted
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_mesh.context import CallContext


class WaitingRoom(Listener):
    """Has a line for each kind of request, by what a worker must have to take it, and calls who is next.

    One has its turn for each call that ends on a worker that the line waits for, when a worker's own time is
    over, when workers came or went, and when the one before it passes its turn on
    (:class:`~inferloom_gateway.calls.visit.Visit`): so workers that are full are asked about as often as they
    have room. While no worker is there at all, nobody waits here.

    What kinds there are is up to those who ask: a line that is told apart by what a request needs is there
    only while somebody stands in it, and how many may wait is told for each model.

    Args:
        fleet: The workers.
        most: Requests that may wait ahead of another for a model; 0: none waits here.
        most_s: Seconds that a request may have to wait, as far as can be told.
        clock: Monotonic seconds.
    """

    def __init__(self, fleet: Fleet, most: int, most_s: float, clock: Callable[[], float]) -> None:
        self.most = most
        self.clock = clock
        self._fleet = fleet
        self._most_s = most_s
        self._lines: dict[Wanted, WaitingLine] = {}
        self._turns: dict[Place, asyncio.Future[None]] = {}
        self._timers: dict[Wanted, tuple[asyncio.TimerHandle, float]] = {}
        """When somebody may ask whatever happens until then, by line."""

    @property
    def waiting(self) -> int:
        """Requests that wait, in all lines."""
        return len(self._turns)

    def waits(self, wanted: Wanted) -> bool:
        """Whether anybody waits in a line."""
        return bool(self._lines.get(wanted))

    def line(self, wanted: Wanted) -> WaitingLine:
        """The line of those that want the same."""
        line = self._lines.get(wanted)
        if line is None:
            line = self._lines[wanted] = WaitingLine(self.most, self._most_s)
        return line

    def join(self, wanted: Wanted, context: CallContext, retry_s: float) -> Place:
        """Take a place at the end of a line; ``retry_s`` as :meth:`WaitingLine.join` has it.

        Raises:
            InferloomError: SERVER_OVERLOADED: it would wait too long, or too many do.
        """
        line, now = self.line(wanted), self.clock()
        others = [
            other for each, other in self._lines.items() if other is not line and each.model == wanted.model
        ]
        try:
            return line.join(context.tenant, now, context.time_left(now), retry_s, others)
        finally:
            self._tidy(wanted)

    async def wait(self, wanted: Wanted, place: Place, most_s: float) -> None:
        """Wait in a line, in which one has ``place``, until it has its turn, for ``most_s`` seconds at most.

        Raises:
            InferloomError: SERVER_OVERLOADED: it has not had it by then.
        """
        turn = self._turns[place] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(max(0.0, most_s)):
                await turn
        except BaseException as failure:
            if turn.done() and not turn.cancelled():
                self.call(wanted)  # its turn came too late for it
            if isinstance(failure, TimeoutError):
                raise no_room(0.0) from None
            raise
        finally:
            self._turns.pop(place, None)
            if (line := self._lines.get(wanted)) is not None:
                line.leave(place)
                self._tidy(wanted)

    def call(self, wanted: Wanted) -> None:
        """Let the next in a line ask."""
        line = self._lines.get(wanted)
        while line is not None and (place := line.next()) is not None:
            turn = self._turns.get(place)
            if turn is not None and not turn.done():
                turn.set_result(None)
                return

    def look_at(self, wanted: Wanted, retry_s: float | None) -> None:
        """Let the next in a line ask in so many seconds, when a worker's own time is over, whatever happens
        until then; None: now, or when that was to be already."""
        loop = asyncio.get_running_loop()
        due = loop.time() + (retry_s or 0.0)
        if wanted in self._timers:
            timer, when = self._timers[wanted]
            if retry_s is None or when <= due:
                return
            timer.cancel()

        def look() -> None:
            del self._timers[wanted]
            self.call(wanted)

        self._timers[wanted] = loop.call_at(due, look), due

    def workers_changed(self) -> None:
        """Workers came, went, or can be reached again."""
        for wanted, line in self._by_age():
            if any(each.usable and wanted.by(each) for each in self._fleet.holding(wanted.model)):
                self.call(wanted)
                continue
            while line:
                self.call(wanted)
            self._drop(wanted)  # with how fast places became free: there is nobody who has any

    def on_ended(self, record: Record) -> None:
        """A request that workers had is over: there is room for others that these could take."""
        if not self._lines:
            return
        had = {each.worker for each in record.attempts if each.accepted_s is not None}
        left = [member for member in map(self._fleet.member, had) if member is not None]
        for wanted, line in self._by_age():
            if any(_shared(member, record.model, wanted) for member in left):
                line.departed(self.clock())
                self.call(wanted)

    def close(self) -> None:
        """Call nobody any more."""
        for timer, _ in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _by_age(self) -> list[tuple[Wanted, WaitingLine]]:
        """The lines, the one whose next has waited longest first: where there is one place, who is called
        first has it."""
        return sorted(self._lines.items(), key=lambda each: each[1].until)

    def _tidy(self, wanted: Wanted) -> None:
        if wanted.needs and not self._lines[wanted]:
            self._drop(wanted)

    def _drop(self, wanted: Wanted) -> None:
        del self._lines[wanted]
        if wanted in self._timers:
            timer, _ = self._timers.pop(wanted)
            timer.cancel()


def _shared(member: Member, model: str, wanted: Wanted) -> bool:
    """Whether the end of a request for a model leaves room at a worker for others: of the same model, or of
    one that is computed with it, as another name or adapter."""
    return _computed(member, model) == _computed(member, wanted.model) and wanted.by(member)


def _computed(member: Member, model: str) -> str:
    card = member.models.get(model)
    return model if card is None else card.parent or card.alias_of or model
