"""Resumable streams in a process that stops."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.storage import Storage
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams import run
from inferloom_gateway.streams.desk import New, StreamDesk
from inferloom_gateway.streams.generation import Generation
from inferloom_mesh.errors import InferloomError, Reason
from tests.patience import PATIENCE_S

READER: Any = SimpleNamespace(identity=SimpleNamespace(tenant="t"), patience_s=None)


class Calls:
    """Those of a stream without generations."""

    pin = SimpleNamespace(hash="")

    def __enter__(self) -> None:
        """Nothing is to be ended."""

    def __exit__(self, *failure: object) -> None:
        """Nothing is to be ended."""


class Beginning:
    """A stream whose worker takes its time."""

    def __init__(self) -> None:
        self.entered, self.gate = asyncio.Event(), asyncio.Event()
        calls: Any = Calls()
        self.new = New(KeptStream("t", "s", "generate", b"", 0, 60), calls, self._start)

    async def _start(self) -> Sequence[Generation]:
        self.entered.set()
        await self.gate.wait()
        return []


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[StreamDesk]:
    """A desk on a store of its own."""
    storage = Storage(GatewaySettings(store=folder))
    gateway: Any = SimpleNamespace(storage=storage)
    try:
        yield StreamDesk(gateway, {})
    finally:
        await storage.close()


async def test_a_stream_that_is_being_begun_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is what it becomes: it is whole in the store when the process has stopped."""
    monkeypatch.setattr(run, "RENEWED_S", 0.05)
    begins = Beginning()
    async with opened(tmp_path) as desk:
        reading = asyncio.create_task(desk.attach(READER, "s", 0, begins.new))
        await asyncio.wait_for(begins.entered.wait(), PATIENCE_S)
        draining = asyncio.create_task(desk.drain(PATIENCE_S))
        await asyncio.wait((draining,), timeout=0.2)
        assert not draining.done()
        begins.gate.set()
        (await reading).close()
        await asyncio.wait_for(draining, PATIENCE_S)
        assert (await desk.book.news("t", "s", 0)).kept.over == ""


async def test_a_stream_that_no_worker_accepts_in_time_is_another_gateways(tmp_path: Path) -> None:
    """Its name is free again, so that it can be asked for there; and none is begun behind the end."""
    begins, late = Beginning(), Beginning()
    async with opened(tmp_path) as desk:
        reading = asyncio.create_task(desk.attach(READER, "s", 0, begins.new))
        await asyncio.wait_for(begins.entered.wait(), PATIENCE_S)
        await asyncio.wait_for(desk.drain(0.05), PATIENCE_S)
        late.gate.set()
        for attached in (reading, asyncio.ensure_future(desk.attach(READER, "s", 0, late.new))):
            with pytest.raises(InferloomError) as told:
                await asyncio.wait_for(attached, PATIENCE_S / 10)
            assert (told.value.reason, told.value.retry_after) == (Reason.NO_WORKER, 1.0)
        with pytest.raises(InferloomError, match="no resumable stream"):
            await desk.book.news("t", "s", 0)


async def test_who_leaves_while_his_stream_is_begun_ends_it(tmp_path: Path) -> None:
    """He is not told of a stop, and nobody waits for what he wanted."""
    begins = Beginning()
    async with opened(tmp_path) as desk:
        reading = asyncio.create_task(desk.attach(READER, "s", 0, begins.new))
        await asyncio.wait_for(begins.entered.wait(), PATIENCE_S)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.wait_for(desk.drain(PATIENCE_S), PATIENCE_S)
        with pytest.raises(InferloomError, match="no resumable stream"):
            await desk.book.news("t", "s", 0)
