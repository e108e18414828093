"""A TCP proxy before a server, which can be slow, cut connections, or stop forwarding and close nothing."""

import asyncio
from types import TracebackType
from typing import Self

from inferloom_mesh.net import Address


class TcpProxy:
    """Forwards connections to ``target`` inside its block, each direction ``delay_s`` late."""

    def __init__(self, target: Address, delay_s: float = 0.0) -> None:
        self._target = target
        self._delay_s = delay_s
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    def freeze(self) -> None:
        """Forward nothing from now on, in neither direction, and close nothing."""
        self._open.clear()

    def cut(self) -> None:
        """Break all connections, as if whoever has them had died; new ones are made."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = Address("127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(65536):
            await self._open.wait()
            loop.call_later(self._delay_s, sink.write, data)
        await self._open.wait()
        sink.close()
