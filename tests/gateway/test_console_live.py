"""The console's one picture for all viewers, and what changed of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from inferloom_gateway.console import live
from inferloom_gateway.console.live import MOST_VIEWERS, Live, Sections, changes
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_mesh.errors import InferloomError, Reason
from tests.patience import PATIENCE_S


class Mesh:
    """What is looked at."""

    def __init__(self) -> None:
        self.rows: Sections = {"workers": {"w1": {"state": "ready"}}}
        self.looks = 0
        self.cpu_s = 0.0
        self.each_s = 0.0

    def look(self) -> Sections:
        """Cost what a look costs."""
        self.looks += 1
        self.cpu_s += self.each_s
        return {section: dict(rows) for section, rows in self.rows.items()}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL_S", 0.005)


@pytest.fixture
def mesh() -> Mesh:
    """One worker."""
    return Mesh()


def live_of(mesh: Mesh, ended: asyncio.Event | None = None) -> Live:
    """Look at it."""
    return Live(mesh.look, ended or asyncio.Event(), cpu=lambda: mesh.cpu_s)


async def told(viewer: AsyncGenerator[bytes, None]) -> tuple[str, Any]:
    """The next event."""
    async with asyncio.timeout(PATIENCE_S):
        while (piece := await anext(viewer)) is KEEP_ALIVE:
            pass
    kind, data = piece.decode().strip().split("\n")
    return kind.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))


def test_changes_are_rows_and_what_went_is_none() -> None:
    """What stayed the same is not told."""
    before: Sections = {"workers": {"a": 1, "b": 1, "c": 1}, "models": {"m": 1}}
    now: Sections = {"workers": {"a": 1, "b": 2, "d": 1}, "models": {"m": 1}, "new": {"n": 1}}
    assert changes(before, now) == {"workers": {"b": 2, "d": 1, "c": None}, "new": {"n": 1}}
    assert not changes(now, now)


async def test_all_viewers_share_one_look(mesh: Mesh) -> None:
    """Each gets the whole picture once, and then what changed; nobody looks when nobody watches."""
    watched = live_of(mesh)
    viewers = [watched.view() for _ in range(5)]
    for viewer in viewers:
        assert await told(viewer) == ("whole", mesh.rows)
    mesh.looks = 0
    mesh.rows["workers"]["w2"] = {"state": "starting"}
    for viewer in viewers:
        assert await told(viewer) == ("change", {"workers": {"w2": {"state": "starting"}}})
    assert mesh.looks < 5
    for viewer in viewers:
        await viewer.aclose()
    await asyncio.sleep(0)
    mesh.looks = 0
    await asyncio.sleep(0.05)
    assert not mesh.looks


async def test_viewers_are_bounded(mesh: Mesh) -> None:
    """One more is told so, and has room when another has left."""
    watched = live_of(mesh)
    viewers = [watched.view() for _ in range(MOST_VIEWERS)]
    for viewer in viewers:
        await told(viewer)
    with pytest.raises(InferloomError) as refused:
        await anext(watched.view())
    assert refused.value.reason is Reason.SERVER_OVERLOADED
    await viewers.pop().aclose()
    more = watched.view()
    assert (await told(more))[0] == "whole"
    for viewer in (*viewers, more):
        await viewer.aclose()


async def test_who_does_not_read_gets_the_whole_again(mesh: Mesh) -> None:
    """What waits for it is bounded, and ends with the picture as it is."""
    watched = live_of(mesh)
    slow, quick = watched.view(), watched.view()
    await told(slow)
    await told(quick)
    for number in range(40):
        mesh.rows["workers"]["w1"] = {"number": number}
        await told(quick)
    picture: Any = {}
    kinds = []
    while picture.get("w1") != {"number": 39}:
        kind, data = await told(slow)
        kinds.append(kind)
        picture = data["workers"] if kind == "whole" else picture | data["workers"]
    assert len(kinds) <= 9
    assert "whole" in kinds
    await slow.aclose()
    await quick.aclose()


async def test_a_costly_look_is_rare(mesh: Mesh) -> None:
    """Looking takes a small part of a processor, however large the mesh is."""
    mesh.each_s = 0.0006  # at 6 ms a second, ten looks in a second
    watched = live_of(mesh)
    viewer = watched.view()
    await told(viewer)
    mesh.looks = 0
    await asyncio.sleep(0.45)
    assert 1 <= mesh.looks <= 5
    assert watched.spent == pytest.approx(mesh.cpu_s)
    await viewer.aclose()


async def test_streams_end_with_the_gateway(mesh: Mesh) -> None:
    """They hold up no drain."""
    ended = asyncio.Event()
    viewer = live_of(mesh, ended).view()
    await told(viewer)
    ended.set()
    with pytest.raises(StopAsyncIteration):
        await told(viewer)


async def test_a_failing_look_ends_the_streams(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    """Viewers come again; nobody waits for a picture that does not come."""
    watched = live_of(mesh)
    viewer = watched.view()
    await told(viewer)
    mesh.rows = None  # type: ignore[assignment] # so that looking fails
    with pytest.raises(StopAsyncIteration):
        await told(viewer)
    assert "cannot look" in caplog.text
    mesh.rows = {"workers": {}}
    again = watched.view()
    assert (await told(again))[0] == "whole"
    await again.aclose()


async def test_who_comes_when_looking_has_failed_is_told_again(mesh: Mesh) -> None:
    """Even while another has not read yet that its stream is over."""
    begun = 0

    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise RuntimeError("a bug")
        yield

    watched = Live(mesh.look, asyncio.Event(), beside, cpu=lambda: mesh.cpu_s)
    first, second = watched.view(), watched.view()
    await told(first)
    await asyncio.sleep(0.02)
    await told(second)
    mesh.rows["workers"]["w2"] = {"state": "starting"}
    assert (await told(second))[0] == "change"
    await first.aclose()
    await second.aclose()


async def test_who_stops_looking_late_leaves_the_next_viewers_alone(mesh: Mesh) -> None:
    """What fails at its end ends no stream but its own."""

    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0.02)
            raise RuntimeError("a bug")

    watched = Live(mesh.look, asyncio.Event(), beside, cpu=lambda: mesh.cpu_s)
    first = watched.view()
    await told(first)
    await asyncio.sleep(0.01)
    await first.aclose()
    second = watched.view()
    await told(second)
    await asyncio.sleep(0.05)
    mesh.rows["workers"]["w2"] = {"state": "starting"}
    assert (await told(second))[0] == "change"
    await second.aclose()
    await asyncio.sleep(0.03)
