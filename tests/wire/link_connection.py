"""A gateway's end of a connection to a worker's link port, made of a plain socket, in the form of an Attach
call."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Self

from inferloom.v1 import link_pb2
from inferloom_mesh.net import Address
from inferloom_mesh.secret import MeshSecret

PREAMBLE = b"inferloom-link/1"


class LinkRefusedError(Exception):
    """The worker did not let this gateway in."""

    def __init__(self, answer: link_pb2.CallEnd) -> None:
        super().__init__(answer.message)
        self.answer = answer


class LinkConnection:
    """Frames in both directions. Ends as an iterator when the worker closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str, secret: str = "", context: ssl.SSLContext | None = None) -> Self:
        """Attach.

        Raises:
            LinkRefusedError: The worker does not want this gateway.
        """
        host, port = Address.parse(address)
        name = None if context is None else "worker.inferloom.internal"
        opened = cls(*await asyncio.open_connection(host, port, ssl=context, server_hostname=name))
        shown = MeshSecret(secret).metadata[0][1] if secret else ""
        try:
            opened._writer.write(PREAMBLE)
            await opened.write_bytes(link_pb2.LinkHello(mesh_secret=shown).SerializeToString())
            assert await opened._reader.readexactly(len(PREAMBLE)) == PREAMBLE
            answer = link_pb2.CallEnd.FromString(await opened._frame())
            if answer.code:
                assert await opened._reader.read() == b""
                raise LinkRefusedError(answer)
        except BaseException:
            opened.cancel()
            raise
        return opened

    async def write(self, frame: link_pb2.AttachRequest) -> None:
        """Send a frame."""
        await self.write_bytes(frame.SerializeToString())

    async def write_bytes(self, frame: bytes) -> None:
        """Send a frame's bytes."""
        self._writer.write(len(frame).to_bytes(4, "big") + frame)
        await self._writer.drain()

    def cancel(self) -> None:
        """End it without a word."""
        self._writer.transport.abort()

    async def __aiter__(self) -> AsyncIterator[link_pb2.AttachResponse]:
        while True:
            try:
                frame = await self._frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if frame:  # or it is a beat
                yield link_pb2.AttachResponse.FromString(frame)

    async def _frame(self) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        assert size <= 2**20
        return await self._reader.readexactly(size)
