"""One way to a collector: a message goes out, and it is said whether it came there."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import grpc

from inferloom_mesh.otlp_target import GRPC, Target

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

    async def send(self, message: bytes, limit_s: float) -> bytes:
        """Send an export request; return the answer. Raises SendingError."""
        ...

    async def close(self) -> None:
        """Leave it."""
        ...


def way_to(target: Target) -> Way:
    """The way to a collector by its protocol. Raises OSError where a file of certificates is of no use."""
    return GrpcWay(target) if target.protocol == GRPC else HttpWay(target)


class GrpcWay:
    """OTLP over gRPC."""

    def __init__(self, target: Target) -> None:
        self._metadata = target.headers
        if target.tls:
            own = target.certificate
            credentials = grpc.ssl_channel_credentials(
                None if target.authority is None else target.authority.read_bytes(),
                None if own is None else own[1].read_bytes(),
                None if own is None else own[0].read_bytes(),
            )
            self._channel = grpc.aio.secure_channel(target.url, credentials)
        else:
            self._channel = grpc.aio.insecure_channel(target.url)
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
    """OTLP over HTTP: one POST a message, on a thread of its own, which no exit of the process waits for."""

    def __init__(self, target: Target) -> None:
        self._target = target
        handlers: list[HTTPSHandler | HTTPRedirectHandler] = [_NoRedirects()]
        if target.tls:
            context = ssl.create_default_context(cafile=target.authority)
            if target.certificate is not None:
                context.load_cert_chain(*target.certificate)
            handlers.append(HTTPSHandler(context=context))
        self._opener = build_opener(*handlers)

    async def send(self, message: bytes, limit_s: float) -> bytes:
        """Send it."""
        return await _on_a_thread(lambda: self._post(message, limit_s))

    async def close(self) -> None:
        """Leave it: there is nothing to close."""

    def _post(self, message: bytes, limit_s: float) -> bytes:
        request = Request(self._target.url, message, {"content-type": "application/x-protobuf"})  # noqa: S310 # http or https
        for name, value in self._target.headers:
            request.add_header(name, value)
        try:
            with self._opener.open(request, timeout=limit_s) as answer:
                body: bytes = answer.read(LONGEST_ANSWER)
                return body
        except HTTPError as error:
            with error:
                raise SendingError(f"HTTP status {error.code}", later=error.code in _LATER) from error
        except (OSError, HTTPException) as error:
            raise SendingError(str(error) or type(error).__name__, later=True) from error


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
