"""HTTP/1.1 by hand, for what no well-behaved client sends."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from inferloom_mesh.net import Address
from tests.patience import PATIENCE_S


@dataclass
class RawResponse:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        """The OpenAI error object."""
        return orjson.loads(self.body)["error"]


class RawConnection:
    """A connection that sends what it is told, in the segments that it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: Address) -> "RawConnection":
        """Connect."""
        return cls(*await asyncio.open_connection(*address))

    async def send(self, *segments: bytes) -> None:
        """Send the segments one after the other, with time between them for the server to read each alone."""
        for number, segment in enumerate(segments):
            if number:
                await asyncio.sleep(0.003)
            self._writer.write(segment)
            await self._writer.drain()

    async def response(self, *, head: bool = False) -> RawResponse:
        """Read one response; with ``head``, of a HEAD request, which has no body."""
        async with asyncio.timeout(PATIENCE_S):
            raw = await self._reader.readuntil(b"\r\n\r\n")
            line, *lines = raw.decode().strip().split("\r\n")
            pairs = (line.partition(": ") for line in lines)
            headers = {name.lower(): value for name, _, value in pairs}
            body = b"" if head else await self._body(headers)
            return RawResponse(int(line.split()[1]), headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.read()
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return body

    async def ended(self) -> bytes:
        """What is left until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    async def close(self) -> None:
        """Go away."""
        self._writer.close()

    async def __aenter__(self) -> "RawConnection":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def post(path: str, body: object, *headers: str, version: str = "1.1", chunks: int = 0) -> bytes:
    """The bytes of a POST with a JSON body; in so many chunks, if that is not 0."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"POST {path} HTTP/{version}", "Host: gateway", "Content-Type: application/json", *headers]
    if not chunks:
        lines.append(f"Content-Length: {len(content)}")
        return "\r\n".join([*lines, "", ""]).encode() + content
    size = -(-len(content) // chunks)
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode() + framed


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """``data`` in pieces that begin at these places."""
    edges = [0, *sorted(places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]
