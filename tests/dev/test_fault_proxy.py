"""The proxy of the fault suite does what it is told, or its rows would prove nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from faulting.parts import free_ports
from faulting.proxy import Proxy, Weather

from tests.patience import PATIENCE_S, within

Pipe = tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]

QUIET_S = 0.3


@asynccontextmanager
async def piped() -> AsyncIterator[Pipe]:
    """A connection through a proxy to a server that says what it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    (port,) = free_ports(1)
    proxy = Proxy(f"127.0.0.1:{port}", target)
    await proxy.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield proxy, reader, writer
    finally:
        writer.close()
        await proxy.close()
        server.close()


async def silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes for a while."""
    try:
        await asyncio.wait_for(reader.read(100), QUIET_S)
    except TimeoutError:
        return True
    return False


def test_it_delays_both_ways() -> None:
    """A delay of 0.1 s makes a way there and back of 0.2 s."""

    async def run() -> None:
        async with piped() as (proxy, reader, writer):
            writer.write(b"first")
            assert await reader.readexactly(5) == b"first"
            proxy.weather = Weather(delay_s=0.1, jitter_s=0.01)
            began = time.monotonic()
            async with within(2):
                for number in range(5):
                    writer.write(b"%d" % number)
                assert await reader.readexactly(5) == b"01234"
            assert time.monotonic() - began > 0.17

    asyncio.run(run())


def test_a_partition_loses_nothing_once_it_is_healed() -> None:
    """As TCP sends again what nobody acknowledged."""

    async def run() -> None:
        async with piped() as (proxy, reader, writer):
            proxy.part()
            writer.write(b"later")
            assert await silent(reader)
            proxy.heal()
            assert await reader.readexactly(5) == b"later"

    asyncio.run(run())


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_half_open_connection_swallows_one_way(way: str) -> None:
    """Neither end is told."""

    async def run() -> None:
        async with piped() as (proxy, reader, writer):
            proxy.swallow("there" if way == "there" else "back")
            writer.write(b"lost")
            assert await silent(reader)
            assert not reader.at_eof()

    asyncio.run(run())


def test_a_reset_is_told_to_both_ends() -> None:
    """At once."""

    async def run() -> None:
        async with piped() as (proxy, reader, writer):
            writer.write(b"here")
            await reader.readexactly(4)
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.readexactly(1), PATIENCE_S)

    asyncio.run(run())
