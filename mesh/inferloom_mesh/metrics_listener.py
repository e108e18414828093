"""Where Prometheus reads one process's metrics: a small HTTP server that answers ``GET /metrics``."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from inferloom_mesh.listening import bind
from inferloom_mesh.net import Address

Source = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Gives the text and its media type; is told the Accept header."""

PATIENCE_S = 5.0
"""How long a request may take to arrive."""

_MOST_HEAD_BYTES = 16 * 2**10

log = logging.getLogger(__name__)


@asynccontextmanager
async def metrics_at(
    address: Address | None, source: Source, *, chosen: bool, ports: int = 1
) -> AsyncIterator[Address | None]:
    """Answer at ``address`` until the block ends; None: nowhere.

    Args:
        address: Where to listen; port 0 takes a free one.
        source: What to answer with.
        chosen: Whether somebody asked for this address. If not, a port that is taken is only told.
        ports: How many ports to try, one after the other, where nobody asked for one.

    Raises:
        OSError: The address was chosen and cannot be listened on.
    """
    server = None if address is None else await _listen(address, source, chosen, ports)
    if server is None or address is None:
        yield None
        return
    at = Address(address.host, server.sockets[0].getsockname()[1])
    log.info("metrics are at http://%s/metrics", at)
    try:
        yield at
    finally:
        server.close()


async def _listen(address: Address, source: Source, chosen: bool, ports: int) -> asyncio.Server | None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await _response(head.decode("latin-1"), source))
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
        writer.close()

    last = address.port + (1 if chosen or not address.port else ports)
    for port in range(address.port, min(last, 65536)):
        try:
            listener = bind(Address(address.host, port))
        except OSError as failure:
            if chosen:
                raise
            reason = failure
        else:
            return await asyncio.start_server(answer, sock=listener, limit=_MOST_HEAD_BYTES)
    log.info("there is no listener for metrics: %s", reason)
    return None


async def _response(head: str, source: Source) -> bytes:
    line, *lines = head.split("\r\n")
    method, _, rest = line.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if path != "/metrics":
        return _message("404 Not Found", b"metrics are at /metrics\n", "text/plain")
    if method not in ("GET", "HEAD"):
        return _message("405 Method Not Allowed", b"GET reads metrics\n", "text/plain")
    named = (each.partition(":") for each in lines)
    accept = next((value.strip() for name, _, value in named if name.lower() == "accept"), "")
    body, media_type = await source(accept)
    return _message("200 OK", body, media_type, empty=method == "HEAD")


def _message(status: str, body: bytes, media_type: str, *, empty: bool = False) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"content-type: {media_type}",
        f"content-length: {len(body)}",
        "connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + (b"" if empty else body)
