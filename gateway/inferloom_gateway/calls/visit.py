"""One call's stay in the waiting room."""

from types import TracebackType
from typing import Self

from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.selection import Selection
from inferloom_gateway.calls.waiting_line import Place, no_room
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.fleet.ask import Wanted
from inferloom_mesh.errors import InferloomError


class Visit:
    """Has a turn to ask a worker, or waits for one in a line. A block around all that it asks: whichever way
    that ends, whoever has the turn passes it on, unless he waits again for another.

    Args:
        room: Where it waits.
        selection: Which worker the call is given.
        record: Its request's.
    """

    def __init__(self, room: WaitingRoom, selection: Selection, record: Record) -> None:
        self._room = room
        self._selection = selection
        self._prospects = selection.prospects
        self._record = record
        self._place: Place | None = None
        """The place that it has, or had before its turn."""
        self._called: Wanted | None = None
        """The line in which it has the turn. None: it was not called."""

    async def turn(self) -> None:
        """Wait until a worker may be asked, which is at once where one may have room and nobody waits.

        Raises:
            InferloomError: SERVER_OVERLOADED, at once where it would wait too long.
        """
        room, prospects = self._room, self._prospects
        if not room.most or self._record.context.stands_back:  # who does asks again by himself
            return
        now = room.clock()
        retry_s = prospects.full_s(now)
        if retry_s is None and self._place is None and not room.waiting:
            return
        wanted = prospects.wanted(now)
        if self._called not in (None, wanted):
            self.pass_on()  # workers changed what tells requests apart: it is of use to those in that line
        if retry_s is None:
            if self._place is None and not room.waits(wanted):
                return
            if prospects.away(now):
                self._called = wanted  # who is behind it finds out for itself
                self._leave()
                return
            if self._place is not None:
                return
        try:
            await self._line_up(wanted, retry_s, now)
        except InferloomError as error:
            raise self._selection.why_full(error) from None
        self._called = wanted
        prospects.tried.again()
        if prospects.away(room.clock()):
            self._leave()

    def pass_on(self) -> None:
        """Let the next one ask: this one has a worker, waits for something else than room, or is over."""
        called, self._called = self._called, None
        if called is not None:
            self._room.call(called)

    def _leave(self) -> None:
        self._place = None
        self.pass_on()

    async def _line_up(self, wanted: Wanted, retry_s: float | None, now: float) -> None:
        """Wait for its turn, before all others if it has had one.

        Raises:
            InferloomError: SERVER_OVERLOADED: it has waited for long enough, or would have to wait too long.
        """
        room, record, place = self._room, self._record, self._place
        wait_s, left_s = retry_s or 0.0, record.context.time_left(now)
        if place is None:
            place = self._place = room.join(wanted, record.context, wait_s)
        elif now + wait_s >= place.until:
            raise no_room(wait_s)
        else:
            room.line(wanted).again(place)
        self._called = None
        room.look_at(wanted, retry_s)
        if record.lined_up_s is None:
            record.lined_up_s = now - record.began
        most_s = place.until - now if left_s is None else min(place.until - now, left_s)
        await room.wait(wanted, place, most_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pass_on()
