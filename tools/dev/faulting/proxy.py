"""A TCP proxy that delays, stalls, breaks and swallows what goes through it."""

import asyncio
import random
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

_PIECE = 2**16

Way = Literal["there", "back", "both"]
"""From the one who connected to the one who listens, back, or both ways."""


@dataclass(frozen=True)
class Weather:
    """What happens to each piece of bytes.

    A lost packet shows in TCP as a stall: what follows it waits until it has been sent again. So ``loss`` is
    the part of the pieces, about a packet each, that wait for ``retransmission_s``.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """At most as much is added to the delay or taken off it; bytes keep their order."""
    loss: float = 0.0
    retransmission_s: float = 0.2


class Proxy:
    """Listens at one address, or several, and passes on to another each.

    Args:
        listens: Where it listens, ``host:port``.
        target: Where it connects.
        seed: What its chance begins with.
    """

    def __init__(self, listens: str, target: str, seed: int = 0) -> None:
        self.weather = Weather()
        self.connections = 0
        """How many it has taken."""
        self._doors = [(_address(listens), _address(target))]
        self._chance = random.Random(seed)
        self._swallowed: set[str] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    def also(self, listens: str, target: str) -> None:
        """Listen at another address, and pass on to another; what befalls one befalls both."""
        self._doors.append((_address(listens), _address(target)))

    async def open(self) -> None:
        """Listen."""
        for (host, port), target in self._doors:
            accept = partial(self._accept, target)
            self._servers.append(await asyncio.start_server(accept, host, port))

    async def close(self) -> None:
        """Listen no longer, and end all connections."""
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def part(self) -> None:
        """A partition: nothing passes either way, and nobody is told. New connections wait."""
        self._flowing.clear()

    def heal(self) -> None:
        """End a partition or a half-open state; what waited in a partition goes on, as TCP sends it again."""
        self._flowing.set()
        self._swallowed.clear()

    def swallow(self, way: Way) -> None:
        """Lose all bytes that go one way on the connections there are, which stay open: half-open ones. What
        was lost stays lost, so such a connection is of no use after :meth:`heal` either."""
        self._swallowed |= {"there", "back"} if way == "both" else {way}

    def reset(self) -> int:
        """Reset all connections; return how many there were."""
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for writer in pair:
                with suppress(OSError):
                    _socket(writer).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        return len(pairs)

    async def _accept(
        self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        self._spawn(self._serve(target, reader, writer))

    async def _serve(
        self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._flowing.wait()
        try:
            ahead, on = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()
            return
        for each in (writer, on):
            _socket(each).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (writer, on)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, on, "there"))
                tasks.create_task(self._pass(ahead, writer, "back"))
        finally:
            self._pairs.discard(pair)
            for each in pair:
                each.transport.abort() if each.is_closing() else each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        """Pass pieces on, each at its time; reading is ahead of writing by as long as the delay is."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

        async def write() -> None:
            due = 0.0
            while True:
                at, piece = await queue.get()
                due = max(due, at)  # in order
                await asyncio.sleep(due - loop.time())
                await self._flowing.wait()
                if not piece:
                    with suppress(OSError, RuntimeError):
                        writer.write_eof()
                    return
                if way not in self._swallowed:
                    writer.write(piece)
                    with suppress(OSError):
                        await writer.drain()

        writing = asyncio.create_task(write())
        try:
            piece = b"-"
            while piece:
                try:
                    piece = await reader.read(_PIECE)
                except OSError:
                    writer.transport.abort()
                    return
                await queue.put((loop.time() + self._wait(), piece))
            await writing
        finally:
            writing.cancel()

    def _wait(self) -> float:
        weather = self.weather
        wait = weather.delay_s + self._chance.uniform(-1, 1) * weather.jitter_s
        if self._chance.random() < weather.loss:
            wait += weather.retransmission_s
        return max(0.0, wait)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a connection that broke is no fault of the proxy's


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _socket(writer: asyncio.StreamWriter) -> socket.socket:
    found: socket.socket = writer.get_extra_info("socket")
    return found
