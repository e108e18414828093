"""What the gateway says of a registry that is not there."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from inferloom.v1 import registry_pb2
from inferloom_gateway.fleet.connections import Connections, Line
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.membership import Membership
from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server
from tests.logged import own_records
from tests.patience import until_async


class Nowhere:
    """A line to a worker that nobody calls."""

    def attach(self) -> None:
        pass

    async def probe(self, timeout_s: float) -> bool:
        return False

    async def close(self, grace_s: float | None) -> None:
        pass


def _connect(member: Member) -> Line:
    """There is no worker to connect to."""
    return Nowhere()


async def test_a_registry_that_has_not_come_yet_is_waited_for_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is no loss, so no warning, until it has been away for long."""
    now = 100.0
    fleet, connections = Fleet(600.0), Connections(_connect, linger_s=1.0)
    membership = Membership([Address("127.0.0.1", 1)], fleet, connections, lambda: now)

    async def told(words: str) -> logging.LogRecord:
        await until_async(lambda: caplog.text, words, lambda text: words in text)
        return next(record for record in caplog.records if words in record.getMessage())

    with caplog.at_level(logging.INFO, logger="inferloom_gateway"):
        following = asyncio.create_task(membership.run())
        try:
            assert (await told("waiting for the registry at 127.0.0.1:1")).levelname == "INFO"
            assert not [record for record in own_records(caplog) if record.levelno >= logging.WARNING]
            now += 60
            assert (await told("still no registry at 127.0.0.1:1")).levelname == "WARNING"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await connections.close()


class Scripted:
    """A registry that tells its watchers what a test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.changes: list[registry_pb2.WatchResponse] = []
        self.asked: list[registry_pb2.WatchRequest] = []
        self.watched = asyncio.Event()
        self.news = asyncio.Event()
        self.ends = False

    def says(self, *workers: str, frozen: str = "") -> None:
        """Tell the whole set from now on."""
        rows = [
            registry_pb2.RegisteredWorker(worker=registry_pb2.Worker(id=each, address="127.0.0.1:1"), epoch=1)
            for each in workers
        ]
        revision = len(self.changes) + 1
        snapshot = registry_pb2.Snapshot(workers=rows, frozen=frozen)
        self.changes.append(
            registry_pb2.WatchResponse(revision=revision, registry_id=self.name, snapshot=snapshot)
        )
        self.news.set()

    async def watch(
        self, request: registry_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[registry_pb2.WatchResponse]:
        """Serve Watch."""
        self.asked.append(request)
        self.watched.set()
        told = len(self.changes) - 1
        while not self.ends:
            while told < len(self.changes):
                yield self.changes[told]
                told += 1
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def following(*registries: Scripted) -> AsyncIterator[Fleet]:
    """A fleet that is fed from registries, in their order."""
    fleet, connections = Fleet(600.0), Connections(_connect, linger_s=1.0)
    async with AsyncExitStack() as stack:
        addresses = []
        for registry in registries:
            server = build_server([])
            handler = grpc.unary_stream_rpc_method_handler(
                registry.watch,
                request_deserializer=registry_pb2.WatchRequest.FromString,
                response_serializer=registry_pb2.WatchResponse.SerializeToString,
            )
            service = "inferloom.v1.RegistryService"
            server.grpc.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service, {"Watch": handler})]
            )
            addresses.append(await server.listen(Address("127.0.0.1", 0)))
            stack.push_async_callback(server.stop, 0)
        membership = Membership(addresses, fleet, connections, time.monotonic)
        task = asyncio.create_task(membership.run())
        try:
            yield fleet
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await connections.close()


async def becomes(fleet: Fleet, names: set[str]) -> None:
    """Wait until a fleet has just these workers."""
    await until_async(
        lambda: {each.id for each in fleet.members()}, "the workers", lambda seen: seen == names
    )


async def test_a_gateway_follows_another_registry_when_one_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where it was, so that the other one may catch up, and keeps its workers meanwhile."""
    monkeypatch.setattr("random.randrange", lambda _: 0)
    a, b = Scripted("a"), Scripted("b")
    a.says("w1")
    b.says("w1", "w2")
    async with following(a, b) as fleet:
        await becomes(fleet, {"w1"})
        assert not b.asked
        a.ends = True
        a.news.set()
        await becomes(fleet, {"w1", "w2"})
        assert (b.asked[0].registry_id, b.asked[0].from_revision) == ("a", 1)


async def test_a_registry_that_lost_its_store_is_left_and_takes_nobody_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it says is no reason to drop a worker; the other one is asked at once."""
    monkeypatch.setattr("random.randrange", lambda _: 0)
    a, b = Scripted("a"), Scripted("b")
    a.says("w1", "w2")
    b.says("w1", "w2", "w3")
    async with following(a, b) as fleet:
        await becomes(fleet, {"w1", "w2"})
        a.says("w1", frozen="no quorum")
        await becomes(fleet, {"w1", "w2", "w3"})
        assert not fleet.frozen


async def test_when_all_registries_lost_their_store_the_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is known as frozen, until one of them has its store again."""
    monkeypatch.setattr("random.randrange", lambda _: 0)
    a, b = Scripted("a"), Scripted("b")
    a.says("w1", "w2")
    b.says("w1", frozen="no quorum")
    async with following(a, b) as fleet:
        await becomes(fleet, {"w1", "w2"})
        a.says(frozen="no quorum")
        await b.watched.wait()
        await asyncio.sleep(0.1)  # what it says takes nobody away, however long one waits
        assert fleet.frozen == "no quorum"
        assert {each.id for each in fleet.members()} == {"w1", "w2"}
        b.says("w2", "w3")
        await becomes(fleet, {"w2", "w3"})
        assert not fleet.frozen


async def test_a_worker_that_takes_other_connections_now_is_attached_again() -> None:
    """Its line is the same, and learns of it."""
    attached: list[str] = []

    class Attaching(Nowhere):
        def attach(self) -> None:
            attached.append(fleet.members()[0].link_address)

    fleet: Fleet = Fleet(600.0)
    connections: Connections[Line] = Connections(lambda _: Attaching(), linger_s=1.0)
    membership = Membership([Address("127.0.0.1", 1)], fleet, connections, lambda: 100.0)
    for where in ("", "127.0.0.1:2"):
        worker = registry_pb2.Worker(id="w1", address="127.0.0.1:1", link_address=where)
        put = registry_pb2.RegisteredWorker(worker=worker, epoch=1)
        membership._apply(registry_pb2.WatchResponse(revision=1, put=put))
    assert attached == ["", "127.0.0.1:2"]
    assert len(connections.lines()) == 1
