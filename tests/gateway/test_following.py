"""Other processes are followed for as long as somebody watches, and no longer, however they come and go."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import pytest

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.console.elsewhere import Elsewhere
from inferloom_gateway.contract.gateway_reads import GatewayReads
from inferloom_gateway.contract.service import Caller
from inferloom_gateway.picture import view as views
from inferloom_gateway.picture.following import Following
from inferloom_gateway.picture.peers import Peers
from inferloom_gateway.picture.picture import Picture
from inferloom_gateway.picture.view import View
from tests.patience import until_async


class Others:
    """One other process, which says one picture."""

    metadata = ()

    def __init__(self, said: str = "b") -> None:
        self.silent: dict[str, pb.Unanswered] = {}
        self.said = said
        self.asked = asyncio.Event()
        self.open = 0
        self._instance = registry_pb2.GatewayInstance(instance="b", name="b", address="127.0.0.1:1")

    async def others(self) -> list[registry_pb2.GatewayInstance]:
        self.asked.set()
        await asyncio.sleep(0.01)
        return self.known()

    def known(self) -> list[registry_pb2.GatewayInstance]:
        return [self._instance]

    def unreachable(self, instance: registry_pb2.GatewayInstance) -> None:
        return None

    def stub(self, instance: registry_pb2.GatewayInstance) -> "Others":
        return self

    def WatchMesh(self, request: pb.WatchMeshRequest, metadata: object) -> "Watch":
        return Watch(self)


class Watch:
    """A call to it."""

    def __init__(self, others: Others) -> None:
        self._others = others
        others.open += 1

    async def __aiter__(self) -> AsyncIterator[pb.WatchMeshResponse]:
        mesh = pb.Mesh(processes=[pb.GatewayProcess(gateway=self._others.said)])
        yield pb.WatchMeshResponse(mesh=mesh)
        await asyncio.Event().wait()

    def cancel(self) -> None:
        self._others.open -= 1


class OwnPicture:
    """What the process itself knows: nothing."""

    name = "a"

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    def mesh(self) -> pb.Mesh:
        return pb.Mesh()

    async def watch(self) -> AsyncGenerator[pb.Mesh, None]:
        yield pb.Mesh()


def runs() -> int:
    """Tasks that follow."""
    return sum(task.get_name() == "following gateways" for task in asyncio.all_tasks())


async def settled() -> None:
    """Let what has been ended end."""
    await until_async(runs, "its end", lambda tasks: not tasks)


async def test_watchers_that_begin_together_follow_once() -> None:
    """Both see the others, and nothing goes on behind the last."""
    others = Others()
    following = Following(cast("Peers", others))
    inside = asyncio.Event()

    entered: list[int] = []

    async def watch() -> int:
        async with following.watched():
            heard = len(following.meshes())
            entered.append(heard)
            await inside.wait()
            return heard

    watchers = [asyncio.create_task(watch()) for _ in range(3)]
    await until_async(lambda: len(entered), "all watchers", lambda count: count == len(watchers))
    assert (runs(), others.open) == (1, 1)
    inside.set()
    assert await asyncio.gather(*watchers) == [1, 1, 1]
    await settled()
    assert others.open == 0
    assert following.meshes() == []


async def test_a_watcher_that_leaves_while_it_begins_is_not_counted() -> None:
    """What follows ends with it, and begins again with the next."""
    others = Others()
    following = Following(cast("Peers", others))

    async def watch() -> None:
        async with following.watched():
            await asyncio.Event().wait()

    leaves = asyncio.create_task(watch())
    await others.asked.wait()
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    await settled()
    async with following.watched():
        assert len(following.meshes()) == 1
    await settled()
    assert others.open == 0


async def test_what_a_watch_before_has_heard_is_not_told_again() -> None:
    """The next begins while the one before still ends."""
    others = Others("before")
    following = Following(cast("Peers", others))

    async def heard() -> list[str]:
        async with following.watched():
            return [process.gateway for mesh in following.meshes() for process in mesh.processes]

    first = asyncio.create_task(heard())
    await until_async(first.done, "the end of the first")
    others.said = "after"
    second = asyncio.create_task(heard())
    assert (await first, await second) == (["before"], ["after"])
    await settled()


@pytest.mark.parametrize("reading", [False, True])
async def test_a_call_that_ends_ends_its_watch(reading: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two reads and within one: at once, and not when its memory is collected."""
    monkeypatch.setattr(views, "LOOK_S", 0.01)
    others = Others()
    view = View(cast("Picture", OwnPicture()), cast("Peers", others))
    reads = GatewayReads(view)
    method = next(each for each in reads.methods if each.name == "WatchMesh")
    call = reads.begin(method, pb.WatchMeshRequest(), Caller("test"))
    with call:
        events = await call.events()
        assert (await events.read()).mesh.processes[0].gateway == "b"
        if reading:
            under_way = asyncio.create_task(events.read())
            await asyncio.sleep(0)  # it has begun
            call.close()
            under_way.cancel()
            await asyncio.gather(under_way, return_exceptions=True)
    await settled()
    assert others.open == 0
    assert await events.read() is None


class Watched:
    """A view whose watches end slowly."""

    def __init__(self) -> None:
        self.begun = 0

    async def watch(self) -> AsyncGenerator[pb.Mesh, None]:
        self.begun += 1
        try:
            yield pb.Mesh(processes=[pb.GatewayProcess(gateway=f"watch {self.begun}")])
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)


async def test_a_follow_that_ends_leaves_the_next_ones_picture() -> None:
    """The last viewer leaves and another comes at once."""
    elsewhere = Elsewhere(cast("View", Watched()), cast("Picture", OwnPicture()))

    def sees() -> list[str]:
        return [each.gateway for each in elsewhere.mesh().processes]

    async def follow() -> None:
        async with elsewhere.followed():
            await asyncio.Event().wait()

    one = asyncio.create_task(follow())
    await until_async(sees, "one watch", lambda seen: seen == ["watch 1"])
    one.cancel()
    other = asyncio.create_task(follow())
    await asyncio.gather(one, return_exceptions=True)
    assert sees() == ["watch 2"]
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert sees() == []
