"""The HTTP/1.1 connection: uvicorn's own protocol, with what RFC 9110 and 9112 ask of a server beyond it."""

import asyncio
from collections import deque
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inferloom_gateway.calls.gathering import Gathering
from inferloom_gateway.http.connection.arrival import NOTED, Arrival
from inferloom_gateway.http.connection.cycle import Cycle, OldCycle
from inferloom_gateway.http.connection.heads import invalid, without_upgrade
from inferloom_gateway.http.connection.outlet import Outlet, Pace
from inferloom_gateway.http.connection.refusing import SURPLUS_PATIENCE_S, Refused, Refusing
from inferloom_gateway.http.sink import DIRECT
from inferloom_mesh.errors import InferloomError, overloaded

MOST_WAITING = 4
"""Requests that wait behind the one that is answered until no more is read. Up to there the connection is
read, as nothing else tells that the client has left."""


class Connection(Refusing, HttpToolsProtocol):
    """One client's connection.

    - An offer to upgrade (h2c, websocket) is declined: the request is answered as if there were none, and the
      connection goes on behind its body (RFC 9110, 7.8).
    - A request must arrive whole within ``arrival_limit_s``, and its head within 64 KiB and 256 headers.
    - What two servers could read differently is refused: a request without its one host, a coding besides
      chunks, HTTP/0.9. A trailer is no header.
    - A client of HTTP/1.0 gets no chunks (RFC 9112, 6.1): the end of the connection ends the body.
    - A client that leaves ends all its requests, also one that others wait behind.
    - What is refused here, before there is a request, is refused with an OpenAI error object.

    Everything else is uvicorn's. A request that arrives whole in one segment sets no timer.
    """

    max_connections = 8192
    arrival_limit_s = 30.0
    on_refused: Refused | None = None
    held: ClassVar[deque[Refusing]] = deque()
    leaving: asyncio.Event | None = None
    """Set once clients had better go elsewhere: each answer is then the last of its connection."""
    gathering = Gathering()
    """Lets what a worker's frame has for a client be one write."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrival = Arrival()
        self._fault: InferloomError | None = None
        """What the parser was stopped for."""
        self._answered: RequestResponseCycle | None = None
        """The request that is being answered: others may wait behind it."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Begin. A connection that stays silent is closed like an idle one; one too many sooner."""
        super().connection_made(transport)
        self.flow = Pace(transport)
        self._outlet = Outlet(transport, self.gathering)
        self._surplus = len(self.connections) > self.max_connections
        if self._surplus:
            self._hold()
        patience = SURPLUS_PATIENCE_S if self._surplus else self.timeout_keep_alive
        self.timeout_keep_alive_task = self.loop.call_later(patience, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._let_go()
        ended = [cycle for cycle in (self._answered, self.cycle) if cycle is not None]
        ended += [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        for cycle in ended:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()
        super().connection_lost(exc)
        for cycle in ended:
            if isinstance(cycle, Cycle):
                cycle.lost()

    def data_received(self, data: bytes) -> None:
        """Parse what came; it may hold the end of one request, whole ones, and the beginning of another."""
        self._unset_keepalive_if_required()
        if self._refused:
            return
        if self._surplus:  # told only now: a client that writes while we close would not read why
            self._refuse(overloaded("The gateway has as many connections as it takes."))
            return
        arrival = self._arrival
        arrival.segment(len(data))
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or invalid())
            return
        if arrival.under_way:
            if (fault := arrival.over()) is not None:
                self._refuse(fault)
            else:
                self._await_arrival()

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._declined_head() + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
            else:
                return

    def _declined_head(self) -> bytes:
        """The head that has just been parsed, without its offer to upgrade.

        The parser stops for good behind the head of such a request, so a new one reads it again.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # this too ends HTTP for the parser; only a proxy can do it
            raise httptools.HttpParserInvalidMethodError
        return without_upgrade(method, self.url, self.parser.get_http_version(), self.headers)

    # httptools

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._arrival.begin()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is passed over. As uvicorn's own."""
        if not self._arrival.in_head:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        if name in NOTED:
            self._arrival.header(name, value)
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._arrival.content(len(body))
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Start the application, unless the head is going to be read again.

        uvicorn's own, which would make cycles of its class.
        """
        parser, scope = self.parser, self.scope
        if parser.should_upgrade():
            return
        version = parser.get_http_version()
        self._stop(self._arrival.head(version, self.url, self.headers))
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["raw_path"] = url.path
        scope["path"] = unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        earlier = self.cycle
        self.cycle = (OldCycle if version == "1.0" else Cycle)(
            scope=scope,
            transport=self._outlet,  # type: ignore[arg-type] # all of it that a cycle uses
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive() and not self._leaves(),
            on_response=self.on_response_complete,
        )
        if scope["method"] != "HEAD":
            scope[DIRECT] = self.cycle  # type: ignore[literal-required] # as ASGI lets servers
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # pipelined: it waits
            self.pipeline.appendleft((self.cycle, self.app))
            if len(self.pipeline) >= MOST_WAITING:
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """End a request's body."""
        if self.parser.should_upgrade():
            return
        self._stop(self._arrival.complete())
        self._arrived()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _stop(self, fault: InferloomError | None) -> None:
        """Stop the parser, if there is something wrong with a request."""
        if fault is not None:
            self._fault = fault
            raise ValueError(fault.message)

    def _leaves(self) -> bool:
        return self.leaving is not None and self.leaving.is_set()
