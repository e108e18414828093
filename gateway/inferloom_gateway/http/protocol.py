"""The HTTP/1.1 connection: uvicorn's own protocol, with what RFC 9110 and 9112 ask of a server beyond it."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from inferloom_gateway.calls.sink import Flow
from inferloom_gateway.http.errors import head_of, render
from inferloom_gateway.http.sink import DIRECT
from inferloom_gateway.http.stack import plain_path
from inferloom_mesh.errors import InferloomError, Reason, overloaded

Refused = Callable[[InferloomError, tuple[str, int] | None], None]
"""Is told of what was refused before it was a request, and of who sent it."""

MAX_HEAD_BYTES = 64 * 2**10
"""Largest request line and headers together; as much may the framing of a body in chunks take, with
extensions and trailers."""

MAX_HEADERS = 256
"""Most headers of a request."""

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")

SURPLUS_PATIENCE_S = 5
"""How long a connection beyond the limit may stay silent."""

MOST_SURPLUS = 24
"""Connections beyond the limit that are held until they ask, to be told why not."""

UPLOADS = frozenset({"/v1/files"})
"""Paths whose bodies may take longer to arrive than others'."""

UPLOAD_RATE = 16 * 2**10
"""Bytes a second that such a body must bring meanwhile."""


class Connection(HttpToolsProtocol):
    """One client's connection.

    - An offer to upgrade (h2c, websocket) is declined: the request is answered as if there were none, and the
      connection goes on behind its body (RFC 9110, 7.8).
    - A request must arrive whole within ``arrival_limit_s``, and its head within 64 KiB and 256 headers. -
    What two servers could read differently is refused: a request without its one host, a coding besides
    chunks,
      HTTP/0.9. A trailer is no header.
    - A client of HTTP/1.0 gets no chunks (RFC 9112, 6.1): the end of the connection ends the body.
    - What is refused here, before there is a request, is refused with an OpenAI error object.

    Everything else is uvicorn's. A request that arrives whole in one segment sets no timer.
    """

    max_connections = 8192
    arrival_limit_s = 30.0
    on_refused: Refused | None = None
    held: ClassVar[deque["Connection"]] = deque()
    """Those beyond the limit, the oldest first."""
    leaving: asyncio.Event | None = None
    """Set once clients had better go elsewhere: each answer is then the last of its connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving = False
        """Whether a request has begun to arrive and is not complete."""
        self._head_bytes = 0
        """What has arrived of a head that is not complete."""
        self._in_head = False
        self._came = 0
        """What has arrived since the timer was set."""
        self._arrival: asyncio.TimerHandle | None = None
        self._framing = 0
        """What has arrived of a body in chunks beside the body itself."""
        self._segment = self._begun = 0
        """Bytes of the segment that is read, and requests that began in it."""
        self._hosts: list[bytes] = []
        self._codings: list[bytes] = []
        self._fault: InferloomError | None = None
        """What the parser was stopped for."""
        self._refused = False
        self._surplus = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Begin. A connection that stays silent is closed like an idle one; one too many sooner."""
        super().connection_made(transport)
        self.flow = Pace(transport)
        self._surplus = len(self.connections) > self.max_connections
        if self._surplus:
            self.held.append(self)
            if len(self.held) > MOST_SURPLUS:  # who comes and asks is told; who only holds on gives way
                self.held.popleft().transport.close()
        patience = SURPLUS_PATIENCE_S if self._surplus else self.timeout_keep_alive
        self.timeout_keep_alive_task = self.loop.call_later(patience, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self in self.held:
            self.held.remove(self)
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; it may hold the end of one request, whole ones, and the beginning of another."""
        self._unset_keepalive_if_required()
        if self._refused:
            return
        if self._surplus:  # told only now: a client that writes while we close would not read why
            self._refuse(overloaded("The gateway has as many connections as it takes."))
            return
        self._segment, self._begun = len(data), 0
        if self._in_head:
            self._head_bytes += len(data)
        elif self._codings:
            self._framing += len(data)
        self._came += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or _invalid())
            return
        if not self._arriving:
            return
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_head_too_large())
        elif self._framing > MAX_HEAD_BYTES and self._codings and not self._in_head:
            self._refuse(_framing_too_large())
        elif self._arrival is None:
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
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(option for option in options if option.lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    # httptools

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._arriving = self._in_head = True
        self._head_bytes = self._framing = 0
        self._begun += 1
        self._hosts, self._codings = [], []
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is passed over. As uvicorn's own."""
        if not self._in_head:
            return
        name = name.lower()
        if name == b"host":
            self._hosts.append(value)
        elif name == b"transfer-encoding":
            self._codings.append(value)
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._framing -= len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Start the application, unless the head is going to be read again.

        uvicorn's own, which would make cycles of its class.
        """
        parser, scope = self.parser, self.scope
        if parser.should_upgrade():
            return
        self._in_head = False
        version = parser.get_http_version()
        if (fault := self._misread(version)) is not None:
            self._fault, self._in_head = fault, True
            raise ValueError(fault.message)  # stops the parser
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
            transport=self.transport,
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
        else:  # pipelined: it waits, and so does what the client sends after it
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        """End a request's body."""
        if self.parser.should_upgrade():
            return
        if self._codings and self._framing > MAX_HEAD_BYTES:
            self._fault = _framing_too_large()
            raise ValueError(self._fault.message)  # stops the parser
        self._arrived()
        super().on_message_complete()

    def _misread(self, version: str) -> InferloomError | None:
        """What is wrong with a head that the parser takes."""
        headers = self.headers
        if len(headers) > MAX_HEADERS:
            message = f"The request has more than {MAX_HEADERS} headers."
            return InferloomError(Reason.REQUEST_HEAD_TOO_LARGE, message)
        size = len(self.url)
        for name, value in headers:
            size += len(name) + len(value) + 4
        if size > MAX_HEAD_BYTES:
            return _head_too_large()
        hosts, codings = self._hosts, self._codings
        if codings and self._begun < 2:
            self._framing = (self._head_bytes or self._segment) - size
        if version == "1.1":
            fine = len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None
        else:
            fine = version == "1.0" and len(hosts) < 2 and not codings
        if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            fine = False
        if self.url[:1] != b"/" and b"://" not in self.url:
            fine = False
        return None if fine else _invalid()

    # limits and refusals

    def _arrived(self) -> None:
        self._arriving = False
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _await_arrival(self) -> None:
        self._came = 0
        self._arrival = self.loop.call_later(self.arrival_limit_s, self._late)

    def _late(self) -> None:
        """End a request that is not complete in time, unless it waits behind another, when we do not read, or
        is an upload that goes on."""
        self._arrival = None
        cycle = self.cycle
        if (
            (self._in_head and self._busy())
            or any(cycle is waiting for waiting, _ in self.pipeline)
            or (not self._in_head and self._uploads(cycle))
        ):
            self._await_arrival()
        elif self._in_head:
            self._refuse(_too_slow(self.arrival_limit_s))
        elif cycle.response_complete:
            self.transport.close()
        else:
            assert isinstance(cycle, Cycle)
            cycle.fail(_too_slow(self.arrival_limit_s))

    def _uploads(self, cycle: RequestResponseCycle) -> bool:
        """Whether an upload is arriving, and fast enough."""
        there = plain_path(cycle.scope["path"]) in UPLOADS and not cycle.response_complete
        waits = self.flow.read_paused  # for us, not for the client
        return there and (waits or self._came >= UPLOAD_RATE * self.arrival_limit_s)

    def _leaves(self) -> bool:
        return self.leaving is not None and self.leaving.is_set()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: InferloomError) -> None:
        """Answer what never became a request, and end the connection; a response under way ends first."""
        self._refused = True
        incomplete = self._arriving and not self._in_head
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


class Pace(FlowControl):
    """uvicorn's flow control, which also tells whoever writes past the response's own interface."""

    listener: Flow | None = None

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self.listener is not None:
            self.listener.pause()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self.listener is not None:
            self.listener.resume()


class Cycle(RequestResponseCycle):
    """One request and its response."""

    _failure: InferloomError | None = None

    def write_part(self, data: bytes) -> None:
        """Send a part of a body whose length is not known, at once, as :meth:`send` would."""
        if self.disconnected or self.response_complete:
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked_encoding else data)

    def hear(self, flow: Flow | None) -> None:
        """Tell ``flow`` when the client does not read, and when it does again."""
        assert isinstance(self.flow, Pace)
        self.flow.listener = flow
        if flow is not None and self.flow.write_paused:
            flow.pause()

    def fail(self, error: InferloomError) -> None:
        """Let the application's next read of the body raise ``error``, and the connection end with it."""
        self._failure = error
        self.keep_alive = False
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        """As ASGI's. Raises InferloomError if the body did not come in time."""
        message = await super().receive()
        if self._failure is not None and message["type"] == "http.request":
            raise self._failure
        return message


class OldCycle(Cycle):
    """The same for a client of HTTP/1.0: a body whose length is not known ends with the connection."""

    _until_close = False

    async def send(self, message: ASGISendEvent) -> None:
        """As ASGI's."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._until_close = b"content-length" not in names
            if self._until_close:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._until_close:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _invalid() -> InferloomError:
    return InferloomError(Reason.INVALID_ARGUMENT, "This is not a valid HTTP/1.1 request.")


def _head_too_large() -> InferloomError:
    message = f"The head of the request is over the limit of {MAX_HEAD_BYTES} bytes."
    return InferloomError(Reason.REQUEST_HEAD_TOO_LARGE, message)


def _framing_too_large() -> InferloomError:
    message = f"The chunks' sizes and trailers are over the limit of {MAX_HEAD_BYTES} bytes."
    return InferloomError(Reason.REQUEST_HEAD_TOO_LARGE, message)


def _too_slow(limit_s: float) -> InferloomError:
    return InferloomError(Reason.REQUEST_TIMEOUT, f"The request did not arrive within {limit_s:g} s.")
