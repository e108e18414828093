"""Streams that follow a response in background."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inferloom_gateway.http.responses import watch
from inferloom_gateway.http.responses.follow import Follower
from inferloom_gateway.http.responses.kept import Kept
from inferloom_gateway.http.responses.saved import Saved
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.http.responses.watch import Watches
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_gateway.http.translate.responses.document import begun
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.runs import Chunk
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import InferloomError, Reason, overloaded
from tests.patience import PATIENCE_S

BODY = ResponseRequest.model_validate({"model": "m", "input": "Hi", "background": True})
FIRST, LAST = b'{"type":"response.queued"}', b'{"type":"response.completed"}'


@pytest.fixture
async def under_way(tmp_path: Path) -> AsyncIterator[UnderWay]:
    """The responses of a store of their own, with one that has an event."""
    settings = GatewaySettings(store=tmp_path)
    storage = Storage(settings)
    made = UnderWay(Kept(storage, settings.store_age_s), "own", 10)
    await made.begin("a", Saved(begun(BODY, "resp_1", 1, store=True), [], None))
    await made.tell("a", "resp_1", Chunk(0, [FIRST]))
    yield made
    await storage.close()


async def test_followers_of_a_response_share_what_is_read(
    under_way: UnderWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has all events, and while nothing happens the store is asked once for all, ever more seldom."""
    reads, read = 0, under_way._read

    async def counted(work: object) -> object:
        nonlocal reads
        reads += 1
        return await read(work)  # type: ignore[arg-type]

    looks, seen, looked = 0, under_way.seen, asyncio.Event()

    async def looking(name: str) -> tuple[int, bool]:
        nonlocal looks
        looks += 1
        if looks == 4:
            looked.set()
        return await seen(name)

    monkeypatch.setattr(under_way, "_read", counted)
    monkeypatch.setattr(under_way, "seen", looking)
    watches = Watches(under_way)

    async def follow() -> bytes:
        with ExitStack() as stack:
            pieces = Follower(watches, "a", "resp_1", -1).open(stack)
            return b"".join([piece async for piece in pieces if piece is not KEEP_ALIVE])

    followers = [asyncio.create_task(follow()) for _ in range(40)]
    await asyncio.wait_for(looked.wait(), PATIENCE_S)
    assert reads < 20
    await under_way.end("a", "resp_1", Chunk(1, [LAST]), begun(BODY, "resp_1", 1, store=True))
    texts = await asyncio.gather(*followers)
    assert all(text.count(b"event: ") == 2 for text in texts)
    assert not watches._watches
    assert reads < 60


async def test_so_many_may_follow(under_way: UnderWay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one tenant; who leaves makes room."""
    monkeypatch.setattr(watch, "MOST_OF_TENANT", 2)
    watches = Watches(under_way)
    with watches.watching("a", "resp_1"):
        with watches.watching("a", "resp_2"):
            with pytest.raises(InferloomError) as caught, watches.watching("a", "resp_1"):
                pass
            assert caught.value.reason is Reason.RATE_LIMIT_EXCEEDED
            watches.check("b")
        watches.check("a")


async def test_a_response_that_is_gone_ends_its_streams(under_way: UnderWay) -> None:
    """With the words of one that is not there."""
    with ExitStack() as stack:
        pieces = Follower(Watches(under_way), "a", "resp_2", -1).open(stack)
        with pytest.raises(InferloomError, match="No such response"):
            await anext(pieces)


async def test_followers_whose_look_failed_have_errors_of_their_own(
    under_way: UnderWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is raised holds the frames that it went through: no request's are to be another's."""

    async def fails(name: str) -> tuple[int, bool]:
        raise overloaded("The store is busy.")

    monkeypatch.setattr(under_way, "seen", fails)
    with Watches(under_way).watching("a", "resp_1") as shared:
        waiting = [shared.more(5, PATIENCE_S) for _ in range(2)]
        first, second = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, InferloomError)
    assert isinstance(second, InferloomError)
    assert first.message == second.message == "The store is busy."
    assert first is not second
