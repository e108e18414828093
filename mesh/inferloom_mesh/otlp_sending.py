"""One way to a collector: a message goes out, and it is said whether it came there."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Protocol, TypeVar
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import grpc

from inferloom_mesh.otlp_target import GRPC, Target
from inferloom_mesh.renewed_channel import channel_to
from inferloom_mesh.security import load_pair, text_of
from inferloom_mesh.tls_files import shown_files
from inferloom_mesh.tls_reading import Shown
from inferloom_mesh.watched import Watched

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

LONGEST_ANSWER = 65_536
"""Bytes of a collector's answer that are read."""

_LATER = frozenset({429, 502, 503, 504})
"""HTTP statuses that say that the same may be sent again, as OTLP has it."""

_GRPC_LATER = frozenset(
    {
        *(grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED),
        *(grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS),
    }
)


class SendingError(Exception):
    """A message did not get there.

    Args:
        why: For people.
        later: Whether it may be sent again.
    """

    def __init__(self, why: str, *, later: bool) -> None:
        super().__init__(why)
        self.later = later


class Way(Protocol):
    """A way to a collector."""

    @property
    def files(self) -> Watched[Shown] | None:
        """What it is shown and known by. None: it is spoken to without TLS."""

    async def send(self, message: bytes, limit_s: float) -> bytes:
        """Send an export request; return the answer. Raises SendingError."""
        ...

    async def close(self) -> None:
        """Leave it."""
        ...


def way_to(target: Target) -> Way:
    """The way to a collector by its protocol. Raises OSError where a file of certificates is of no use."""
    return GrpcWay(target) if target.protocol == GRPC else HttpWay(target)


def _files_of(target: Target) -> Watched[Shown] | None:
    return None if not target.tls else shown_files(target.authority, *(target.certificate or (None, None)))


class GrpcWay:
    """OTLP over gRPC."""

    def __init__(self, target: Target) -> None:
        self._metadata = target.headers
        self.files = _files_of(target)
        self._channel: grpc.aio.Channel = (
            grpc.aio.insecure_channel(target.url)
            if self.files is None
            else channel_to(target.url, self.files)
        )
        self._export: Any = self._channel.unary_unary(EXPORT)

    async def send(self, message: bytes, limit_s: float) -> bytes:
        """Send it."""
        try:
            answer: bytes = await self._export(message, timeout=limit_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            later = error.code() in _GRPC_LATER
            raise SendingError(f"{error.code().name}: {error.details()}", later=later) from error
        return answer

    async def close(self) -> None:
        """Leave it."""
        await self._channel.close()


class HttpWay:
    """OTLP over HTTP: one POST a message, on a thread of its own, which no exit of the process waits for.

    A post that takes too long is given up: its connection ends, and so does its thread.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.files = _files_of(target)
        self._made = -1
        self._opener = build_opener(_NoRedirects(), _Plain())
        self._renew()

    async def send(self, message: bytes, limit_s: float) -> bytes:
        """Send it."""
        self._renew()
        post = _Post(self._target, message)
        try:
            async with asyncio.timeout(limit_s):
                return await _on_a_thread(lambda: self._post(post, limit_s))
        except TimeoutError as error:  # urllib's limit is each read's: a collector may send a byte at a time
            raise SendingError(f"it did not answer within {limit_s:g} s", later=True) from error
        finally:
            post.give_up()

    async def close(self) -> None:
        """Leave it: there is nothing to close."""

    def _renew(self) -> None:
        """Show, and trust, what the files hold now."""
        if self.files is None or self._made == (generation := self.files.generation()):
            return
        now = self.files.current()
        trusted = None if now.authorities is None else text_of(now.authorities)
        context = ssl.create_default_context(cadata=trusted)
        if now.certificate is not None and now.key is not None:
            load_pair(context, now.certificate, now.key)
        self._made, self._opener = generation, build_opener(_NoRedirects(), _Plain(), _Secure(context))

    def _post(self, post: "_Post", limit_s: float) -> bytes:
        try:
            with self._opener.open(post, timeout=limit_s) as answer:
                body: bytes = answer.read(LONGEST_ANSWER)
                return body
        except HTTPError as error:
            with error:
                raise SendingError(f"HTTP status {error.code}", later=error.code in _LATER) from error
        except (OSError, HTTPException) as error:
            raise SendingError(str(error) or type(error).__name__, later=True) from error


class _Post(Request):
    """A post, which can be given up from another thread."""

    def __init__(self, target: Target, message: bytes) -> None:
        super().__init__(target.url, message, {"content-type": "application/x-protobuf"})
        for name, value in target.headers:
            self.add_header(name, value)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False

    def note(self, connected: socket.socket) -> None:
        """This is its connection."""
        with self._lock:
            self._socket = connected
            if self._given_up:
                _end(connected)

    def give_up(self) -> None:
        """End its connection, if it still has one."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                _end(self._socket)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own would change what is being read from


class _Plain(HTTPHandler):
    """http, with each connection noted."""

    def http_open(self, post: Request) -> HTTPResponse:
        """See urllib's."""
        return self.do_open(lambda *args, **more: _noted(HTTPConnection(*args, **more), post), post)


class _Secure(HTTPSHandler):
    """https, with each connection noted."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._with = context

    def https_open(self, post: Request) -> HTTPResponse:
        """See urllib's."""
        return self.do_open(
            lambda *args, **more: _noted(HTTPSConnection(*args, context=self._with, **more), post), post
        )


C = TypeVar("C", bound=HTTPConnection)


def _noted(connection: C, post: Request) -> C:
    connect = connection.connect

    def connect_noted() -> None:
        connect()
        if isinstance(post, _Post):
            post.note(connection.sock)

    connection.connect = connect_noted  # type: ignore[method-assign] # of this one alone
    return connection


class _NoRedirects(HTTPRedirectHandler):
    """What is posted, and its headers, go to nobody else."""

    def redirect_request(self, *args: object) -> None:
        """Leave the redirect an error."""


async def _on_a_thread(work: Callable[[], bytes]) -> bytes:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def tell(answer: bytes | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(answer or b"")

    def run() -> None:
        answer, failure = None, None
        try:
            answer = work()
        except Exception as error:  # it is raised where the answer is awaited
            failure = error
        try:
            loop.call_soon_threadsafe(tell, answer, failure)
        except RuntimeError:
            return  # the loop is closed, and nobody waits

    threading.Thread(target=run, name="otlp", daemon=True).start()
    return await done
