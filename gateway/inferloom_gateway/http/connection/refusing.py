"""How a connection refuses what never becomes a request: in time, and in the API's words."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from inferloom_gateway.http.connection.arrival import Arrival
from inferloom_gateway.http.connection.cycle import Cycle
from inferloom_gateway.http.connection.heads import too_slow
from inferloom_gateway.http.errors import head_of, render
from inferloom_gateway.http.stack import plain_path
from inferloom_mesh.errors import InferloomError

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
else:
    Base = object

Refused = Callable[[InferloomError, tuple[str, int] | None], None]
"""Is told of what was refused before it was a request, and of who sent it."""

SURPLUS_PATIENCE_S = 5
"""How long a connection beyond the limit may stay silent."""

MOST_SURPLUS = 24
"""Connections beyond the limit that are held until they ask, to be told why not."""

UPLOADS = frozenset({"/v1/files"})
"""Paths whose bodies may take longer to arrive than others'."""

UPLOAD_RATE = 16 * 2**10
"""Bytes a second that such a body must bring meanwhile."""


class Refusing(Base):
    """The part of a connection that ends it, or what it is sent."""

    arrival_limit_s: float
    on_refused: Refused | None
    held: ClassVar[deque["Refusing"]]
    """Connections beyond the limit, the oldest first."""

    _arrival: Arrival
    _timer: asyncio.TimerHandle | None = None
    """Runs while a request that is not complete is waited for."""
    _refused = False
    _surplus = False
    """Whether it is one beyond the limit."""

    def _hold(self) -> None:
        """Note that it is one too many."""
        self.held.append(self)
        if len(self.held) > MOST_SURPLUS:  # who comes and asks is told; who only holds on gives way
            self.held.popleft().transport.close()

    def _let_go(self) -> None:
        """It ends: forget it."""
        if self in self.held:
            self.held.remove(self)
        self._arrived()

    def _arrived(self) -> None:
        self._arrival.under_way = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await_arrival(self) -> None:
        """Give what is under way its time, if it has none yet."""
        if self._timer is None:
            self._arrival.came = 0
            self._timer = self.loop.call_later(self.arrival_limit_s, self._late)

    def _late(self) -> None:
        """End a request that is not complete in time, unless it waits behind another, when we do not read, or
        is an upload that goes on."""
        self._timer = None
        cycle, in_head = self.cycle, self._arrival.in_head
        if (
            (in_head and self._busy())
            or any(cycle is waiting for waiting, _ in self.pipeline)
            or (not in_head and self._uploads(cycle))
        ):
            self._await_arrival()
        elif in_head:
            self._refuse(too_slow(self.arrival_limit_s))
        elif cycle.response_complete:
            self.transport.close()
        else:
            assert isinstance(cycle, Cycle)
            cycle.fail(too_slow(self.arrival_limit_s))

    def _uploads(self, cycle: RequestResponseCycle) -> bool:
        """Whether an upload is arriving, and fast enough."""
        there = plain_path(cycle.scope["path"]) in UPLOADS and not cycle.response_complete
        waits = self.flow.read_paused  # for us, not for the client
        return there and (waits or self._arrival.came >= UPLOAD_RATE * self.arrival_limit_s)

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: InferloomError) -> None:
        """Answer what never became a request, and end the connection; a response under way ends first."""
        self._refused = True
        incomplete = self._arrival.under_way and not self._arrival.in_head
        self._arrived()
        if self.on_refused is not None:
            self.on_refused(error, self.client)
        if self._busy():
            self.cycle.keep_alive = False
            if incomplete and isinstance(self.cycle, Cycle):
                self.cycle.fail(error)
            return
        if incomplete:  # it has been answered already
            self.transport.close()
            return
        body = render(error)
        head = b"".join(b"%s: %s\r\n" % line for line in head_of(error, len(body)))
        self.transport.write(STATUS_LINE[error.row.http] + head + b"connection: close\r\n\r\n" + body)
        self.transport.close()
