"""HTTP to one server: pools of connections that stay open for a while, everything bounded."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.engines.sidecar.failures import lost, refused, unreached
from inferloom_worker.engines.sidecar.key import Key, KeySource
from inferloom_worker.engines.sidecar.reading import parsed
from inferloom_worker.engines.sidecar.sse import MalformedError

CONNECT_S = 5.0
CONTROL_S = 5.0
"""How long a question about the server itself may take."""

IDLE_S = 3.0
"""How long a connection stays open unused: less than servers keep theirs, which are 5 s by default."""

STALE_S = 1.0
"""Within this time a connection that the server has closed while it was unused shows that it is."""

GONE = "it is served no more"
CONTROL_CONNECTIONS = 4
MOST_ANSWER_BYTES = 2**26
"""Largest answer in one body: vectors of 64 texts with all numbers spelled out."""

MOST_ERROR_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read whole."""

    status: int
    body: bytes
    retry_after: str | None = None

    def json(self) -> Mapping[str, Any]:
        """The object in its body. Raises MalformedError."""
        return parsed(self.body)


class Client:
    """Speaks to one server. Belongs to one event loop, on which it is used first.

    Args:
        address: The server.
        key: Gives the key to it.
    """

    def __init__(self, address: ServerAddress, key: KeySource) -> None:
        self.address = address
        self._key = key
        self._shown: set[Key] = set()
        """Those that it was sent."""
        self._calls: aiohttp.ClientSession | None = None
        self._control: aiohttp.ClientSession | None = None
        self._texts: aiohttp.ClientSession | None = None
        self._closed = False

    async def get(self, url: str, *, limit_s: float = CONTROL_S, most: int = MOST_ANSWER_BYTES) -> Answer:
        """Ask about the server.

        Raises:
            InferloomError: NO_WORKER: it cannot be reached; WORKER_LOST: it went away; TIMEOUT: it does not
                answer in time.
        """
        return await self._whole(self._of_control(), "GET", url, None, limit_s, most)

    async def ask(self, url: str, body: object, *, limit_s: float = CONTROL_S) -> Answer:
        """Post a small thing that is about the server, or about texts; errors as :meth:`get`."""
        return await self._whole(self._of_texts(), "POST", url, body, limit_s, MOST_ANSWER_BYTES)

    async def post(self, url: str, body: object) -> Mapping[str, Any]:
        """Have something computed that is answered in one body.

        Raises:
            InferloomError: The server's refusal; NO_WORKER; WORKER_LOST.
        """
        answer = await self._whole(
            self._of_calls(), "POST", url, body, self.address.silence_s, MOST_ANSWER_BYTES
        )
        if answer.status != 200:
            raise self.refusal(answer)
        try:
            return answer.json()
        except MalformedError as failure:
            raise lost(f"it answered {failure}") from None

    @asynccontextmanager
    async def stream(self, url: str, body: object) -> AsyncIterator["Pieces"]:
        """Post a request and read its answer in pieces as they come. Leaving closes the connection at once,
        unless the answer was read to its end.

        Raises:
            InferloomError: The server's refusal; NO_WORKER; WORKER_LOST, also between two pieces.
        """
        response = await self._begin(self._of_calls(), "POST", url, body, self.address.silence_s)
        try:
            if response.status != 200:
                raise self.refusal(await _read(response, MOST_ERROR_BYTES, cut=True))
            yield Pieces(response)
        finally:
            response.close()  # one that was read to its end has given its connection back

    def refusal(self, answer: Answer) -> InferloomError:
        """The error for an answer that is none."""
        return self.without_key(refused(answer.status, answer.body, answer.retry_after))

    def without_key(self, error: InferloomError) -> InferloomError:
        """The same error; servers repeat what they are sent."""
        hidden = error.message
        for key in self._shown:
            hidden = key.hidden_in(hidden)
        if hidden == error.message:
            return error
        return InferloomError(error.reason, hidden, retry_after=error.retry_after)

    async def close(self) -> None:
        """Close every connection, and open no more."""
        self._closed = True
        for session in (self._calls, self._control, self._texts):
            if session is not None:
                await session.close()

    async def _whole(
        self, session: aiohttp.ClientSession, method: str, url: str, body: object, limit_s: float, most: int
    ) -> Answer:
        try:
            async with asyncio.timeout(limit_s):
                response = await self._begin(session, method, url, body, limit_s + 1)
                try:
                    return await _read(response, most)
                finally:
                    response.close()
        except TimeoutError:
            message = f"The model's server did not answer within {limit_s:g} s."
            raise InferloomError(Reason.TIMEOUT, message) from None

    async def _begin(
        self, session: aiohttp.ClientSession, method: str, url: str, body: object, silence_s: float
    ) -> aiohttp.ClientResponse:
        data = None if body is None else orjson.dumps(body)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s)
        headers = dict(_TYPE)
        if (key := self._key()).value:
            self._shown.add(key)
            headers["Authorization"] = f"Bearer {key.value}"
        for last in (False, True):
            sent = _Sent()
            try:
                return await session.request(
                    method,
                    url,
                    data=data,
                    timeout=timeout,
                    allow_redirects=False,
                    headers=headers,
                    trace_request_ctx=sent,
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failure:
                raise unreached() from failure  # callers are not told where it is; the log is
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as failure:
                if last or not sent.in_vain():
                    raise lost(_why(failure)) from None
            except RuntimeError:
                if not self._closed:
                    raise
                raise lost(GONE) from None
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failure:
                raise lost(_why(failure)) from None
        raise AssertionError

    def _of_calls(self) -> aiohttp.ClientSession:
        if self._calls is None:
            self._calls = self._session(0)  # who has a place may call
        return self._calls

    def _of_control(self) -> aiohttp.ClientSession:
        if self._control is None:
            self._control = self._session(CONTROL_CONNECTIONS)
        return self._control

    def _of_texts(self) -> aiohttp.ClientSession:
        # Apart from the looks after the server: callers who count tokens would make it seem away.
        if self._texts is None:
            self._texts = self._session(CONTROL_CONNECTIONS)
        return self._texts

    def _session(self, connections: int) -> aiohttp.ClientSession:
        if self._closed:
            raise lost(GONE)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "inferloom"},
            trust_env=False,
            auto_decompress=False,
            trace_configs=[_tracing()],
        )


_TYPE = {"Content-Type": "application/json"}


class _Sent:
    """How one request went out."""

    __slots__ = ("again", "at")

    def __init__(self) -> None:
        self.again = False
        """Whether on a connection that had stayed open."""
        self.at = time.monotonic()

    def in_vain(self) -> bool:
        """Whether the connection was surely closed before the server could read it: one that had stayed open,
        where the end shows at once. Later, or on a new one, the server may have ended of the request."""
        return self.again and time.monotonic() - self.at < STALE_S


def _tracing() -> aiohttp.TraceConfig:
    """Notes in the :class:`_Sent` of a request whether its connection is a new one."""

    async def reused(_: object, context: SimpleNamespace, __: object) -> None:
        sent: _Sent = context.trace_request_ctx
        sent.again, sent.at = True, time.monotonic()

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(reused)
    return config


class Pieces:
    """The body of a response, in pieces as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    async def read(self) -> bytes:
        """The next piece; an empty one at the end.

        Raises:
            InferloomError: WORKER_LOST.
        """
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failure:
            raise lost(_why(failure)) from None


async def _read(response: aiohttp.ClientResponse, most: int, *, cut: bool = False) -> Answer:
    body, pieces = bytearray(), Pieces(response)
    while piece := await pieces.read():
        body += piece
        if len(body) > most:
            if cut:
                break
            raise lost(f"its answer has over {most} bytes")
    return Answer(response.status, bytes(body[:most]), response.headers.get("Retry-After"))


def _why(failure: Exception) -> str:
    """What failed, without addresses: errors go to callers."""
    if isinstance(failure, TimeoutError):
        return "it did not answer in time"
    closed = aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError
    if isinstance(failure, closed | ConnectionError):
        return "it closed the connection"
    return f"its answer is no HTTP ({type(failure).__name__})"
