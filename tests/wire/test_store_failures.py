"""What becomes of answers while the store takes nothing, for a moment or for longer, and where it is full."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.responses import recorder
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.streams import run
from inferloom_gateway.streams.book import Book
from inferloom_mesh.errors import InferloomError, Reason
from tests.patience import until_async
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.response_streams import MODEL, says, streamed, whole
from tests.wire.test_gateway_migration import WORDS, worker
from tests.wire.test_responses_background import until
from tests.wire.test_resumable_streams import BODY, begin, header, last_id, rest, slow

AWAY = InferloomError(Reason.STORAGE_UNAVAILABLE, "The store is away.")


def claims(store: Path) -> list[Any]:
    """Until when the streams of a store are claimed."""
    with closing(sqlite3.connect(store / "store.sqlite3")) as database:
        return database.execute("SELECT claimed_until FROM streams").fetchall()


class Failing:
    """What a method does while it is to fail, and otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int) -> None:
        self.left = times
        real = getattr(owner, name)

        async def called(*args: Any, **more: Any) -> Any:
            if self.left:
                self.left -= 1
                raise AWAY
            return await real(*args, **more)

        monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize("what", ["its events", "its end"])
async def test_a_response_in_background_outlasts_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """For a moment: what was not written is written then, and no event is missing."""
    monkeypatch.setattr(recorder, "_AGAIN_S", 0.01)
    monkeypatch.setattr(recorder, "EVERY_S", 0.01)
    failing = Failing(monkeypatch, UnderWay, "end" if what == "its end" else "tell", 3)

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, at.id)
        for word in ("Hel", "lo"):
            yield delta(word)
            while failing.left and what == "its events":  # noqa: ASYNC110 # nobody tells
                await asyncio.sleep(0.01)
        yield finished()
        yield completed()

    async with gateway_mesh(FakeWorker(script=script)) as mesh, mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        assert (await until(client, made.id, "completed", "failed")).output_text == "Hello"
        events = [event async for event in await client.responses.retrieve(made.id, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert failing.left == 0


async def test_a_resumable_stream_outlasts_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker goes on, and so does who reads it."""
    monkeypatch.setattr(run, "_AGAIN_S", 0.01)
    gate, first = asyncio.Event(), worker("a")
    first.script = slow(gate)
    async with gateway_mesh(first) as mesh:
        name, read = await begin(mesh, 3)
        failing = Failing(monkeypatch, Book, "tell", 3)
        gate.set()
        behind = await rest(mesh, name, last_id(read))
    assert (failing.left, behind[-1], len(first.requests)) == (0, "data: [DONE]\n", 1)
    assert len([*read, *behind]) > len(WORDS)


async def test_a_stream_that_could_not_be_written_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up once another may have it, and its next reader has it made from where it was."""
    monkeypatch.setattr(run, "_AGAIN_S", 0.01)
    monkeypatch.setattr(run, "CLAIM_S", 0.1)
    gate, first = asyncio.Event(), worker("a")
    first.script = slow(gate)
    async with gateway_mesh(first) as mesh:
        name, read = await begin(mesh, 3)
        failing = Failing(monkeypatch, Book, "tell", 2**30)
        gate.set()
        await until_async(lambda: claims(mesh.store), "no claim", [(0.0,)].__eq__)
        failing.left = 0
        behind = await rest(mesh, name, last_id(read))
    assert behind[-1] == "data: [DONE]\n"
    assert len(first.requests) == 2


async def test_without_room_on_the_disk_nothing_is_kept_or_begun() -> None:
    """A response says that it is not stored; what cannot be without the store is refused."""
    first = FakeWorker(script=says("Hello"))
    async with gateway_mesh(first, store_spare_bytes=2**62) as mesh, mesh.openai() as client:
        assert (await whole(mesh, input="Hi"))["store"] is False
        *_, last = await streamed(mesh, input="Hi")
        assert last["response"]["store"] is False
        asked = len(first.requests)
        with pytest.raises(openai.InternalServerError) as caught:
            await client.responses.create(model=MODEL, input="Hi", background=True)
        assert (caught.value.status_code, caught.value.code) == (507, "storage_full")
        refused = await mesh.http.post("/v1/chat/completions", json=BODY, headers=header())
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
        assert len(first.requests) == asked


@pytest.mark.parametrize("store_is", ["away", "slow"])
async def test_a_gateway_that_stops_tries_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_is: str
) -> None:
    """To write the end of a response that waits to be written, or is being written."""
    real, tried = UnderWay.end, asyncio.Event()

    async def end(*args: Any) -> bool:
        task = asyncio.current_task()
        assert task is not None
        if not task.cancelling():
            tried.set()
            if store_is == "slow":
                await asyncio.Event().wait()
            raise AWAY
        return await real(*args)

    monkeypatch.setattr(UnderWay, "end", end)
    store = {"store": tmp_path / "store"}
    async with (
        gateway_mesh(FakeWorker(script=says("Hello")), **store, drain_limit_s=0.1) as mesh,
        mesh.openai() as client,
    ):
        made = await client.responses.create(model=MODEL, input="Hi", background=True)
        await tried.wait()
    async with gateway_mesh(FakeWorker(), **store) as mesh, mesh.openai() as client:
        assert (await client.responses.retrieve(made.id)).output_text == "Hello"
