import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import (
    RegistryServiceServicer,
    RegistryServiceStub,
    add_RegistryServiceServicer_to_server,
)
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server
from inferloom_registry.service import TICK
from inferloom_worker.joining import registry_choice
from inferloom_worker.joining.lease import FencedError, LeaseKeeper, RegistrationRefusedError
from tests.logged import own_records
from tests.patience import PATIENCE_S, within
from tests.registry.clock import FakeClock
from tests.registry.running import ANY_PORT, running_registry
from tests.registry.samples import worker

FAR = 1000.0
"""A renewal interval that no test lives to see, so that only what is told at once arrives."""


class Me:
    """What a worker says of itself."""

    def __init__(self, worker_id: str = "w1", address: str = "127.0.0.1:7100") -> None:
        self.worker = worker(worker_id, address=address)
        self.load = pb.Load()

    def keeper(self, registry: Address, **options: Any) -> LeaseKeeper:
        return LeaseKeeper(
            [registry], lambda: self.worker, lambda: self.load, **{"renew_interval": 0.05} | options
        )


@asynccontextmanager
async def running(keeper: LeaseKeeper) -> AsyncIterator["asyncio.Task[None]"]:
    """Run a keeper, registered, and end it."""
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await keeper.registered()
        yield task
    finally:
        keeper.close()
        await asyncio.gather(task, return_exceptions=True)


async def seen(registry: Address, wanted: Callable[[dict[str, pb.RegisteredWorker]], bool]) -> None:
    """Watch a registry until what it holds, by worker id, is as ``wanted``."""
    held: dict[str, pb.RegisteredWorker] = {}
    async with asyncio.timeout(PATIENCE_S), open_channel(registry) as channel:
        stub: Any = RegistryServiceStub(channel)
        async for response in stub.Watch(pb.WatchRequest()):
            match response.WhichOneof("change"):
                case "snapshot":
                    held = {each.worker.id: each for each in response.snapshot.workers}
                case "put":
                    held[response.put.worker.id] = response.put
                case "removed":
                    del held[response.removed.worker_id]
                case "load":
                    held[response.load.worker_id].load.CopyFrom(response.load.load)
            if wanted(held):
                return


class Scripted(RegistryServiceServicer):
    """A registry that does what a test says, to show what a real one does only when it is unwell."""

    def __init__(self, refusal: InferloomError | None = None, silent_streams: int = 0) -> None:
        self.refusal = refusal
        self.refused = asyncio.Event()
        self.silent_streams = silent_streams
        self.registrations: list[pb.RegisterRequest] = []
        self.renewals: asyncio.Queue[pb.KeepAliveRequest] = asyncio.Queue()

    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterResponse:
        self.registrations.append(request)
        if self.refusal is not None:
            self.refused.set()
            raise self.refusal
        return pb.RegisterResponse(lease_id="l", epoch=len(self.registrations))

    async def KeepAlive(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.KeepAliveResponse]:
        silent = self.silent_streams > 0
        self.silent_streams -= 1
        async for request in request_iterator:
            if self.refusal is not None:
                raise self.refusal
            if not silent:
                self.renewals.put_nowait(request)
                yield pb.KeepAliveResponse(lease_id=request.lease_id, ttl=Duration(seconds=6))

    async def Deregister(self, request: pb.DeregisterRequest, context: Any) -> pb.DeregisterResponse:
        return pb.DeregisterResponse()

    async def Join(self, request: pb.JoinRequest, context: Any) -> pb.JoinResponse:
        raise NotImplementedError

    async def Watch(self, request: pb.WatchRequest, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield pb.WatchResponse()

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse()

    async def AnnounceGateway(
        self, request: pb.AnnounceGatewayRequest, context: Any
    ) -> pb.AnnounceGatewayResponse:
        raise NotImplementedError

    async def ListGateways(self, request: pb.ListGatewaysRequest, context: Any) -> pb.ListGatewaysResponse:
        raise NotImplementedError


@asynccontextmanager
async def serving(scripted: Scripted) -> AsyncIterator[Address]:
    server = build_server([])
    add_RegistryServiceServicer_to_server(scripted, server.grpc)
    address = await server.listen(ANY_PORT)
    try:
        yield address
    finally:
        await server.stop(0)


async def free_address() -> Address:
    """An address where a registry was a moment ago, and nothing is now."""
    async with running_registry() as address:
        return address


async def test_a_worker_joins_within_a_second() -> None:
    """With the registry up, a lease is held at once."""
    async with running_registry() as registry:
        keeper = Me().keeper(registry)
        async with within(1), running(keeper):
            assert keeper.epoch == 1


async def test_a_lease_is_renewed_with_the_current_load() -> None:
    """Each renewal says how busy the worker is then."""
    me = Me()
    async with running_registry() as registry, running(me.keeper(registry)):
        await seen(registry, lambda held: held["w1"].load == pb.Load())
        me.load = pb.Load(running=3, waiting=1)
        await seen(registry, lambda held: held["w1"].load.running == 3 and held["w1"].epoch == 1)


async def test_a_change_is_told_at_once() -> None:
    """State and models reach the registry without waiting for the renewal interval."""
    me = Me()
    async with running_registry() as registry:
        keeper = me.keeper(registry, renew_interval=FAR)
        async with running(keeper):
            me.worker = worker("w1", "m", "n")
            keeper.notify()
            await seen(registry, lambda held: [each.id for each in held["w1"].worker.models] == ["m", "n"])
            me.worker.state = pb.WORKER_STATE_DRAINING
            keeper.notify()
            await seen(registry, lambda held: held["w1"].worker.state == pb.WORKER_STATE_DRAINING)


async def test_models_are_sent_only_when_they_changed() -> None:
    """A renewal is small: it holds the models only if the registry does not know them."""
    scripted, me = Scripted(), Me()
    async with serving(scripted) as registry, running(me.keeper(registry)), asyncio.timeout(PATIENCE_S):
        assert not (await scripted.renewals.get()).HasField("models")
        me.worker.models.append(inference_pb2.Model(id="n"))
        while not (renewal := await scripted.renewals.get()).HasField("models"):
            pass
        assert [each.id for each in renewal.models.models] == ["m", "n"]
        assert not (await scripted.renewals.get()).HasField("models")


async def test_the_capacity_is_told_when_it_changed() -> None:
    """A worker registers before its models are loaded; what they can run is known later."""
    me = Me()
    async with running_registry() as registry:
        keeper = me.keeper(registry, renew_interval=FAR)
        async with running(keeper):
            await seen(registry, lambda held: held["w1"].worker.capacity == 8)
            me.worker.capacity = 96
            keeper.notify()
            await seen(registry, lambda held: held["w1"].worker.capacity == 96 and held["w1"].epoch == 1)


async def test_what_is_loading_is_told() -> None:
    """On registering, and when a name came or went."""
    me = Me()
    me.worker.loading.append("soon")
    async with running_registry() as registry:
        keeper = me.keeper(registry, renew_interval=FAR)
        async with running(keeper):
            await seen(registry, lambda held: list(held["w1"].worker.loading) == ["soon"])
            del me.worker.loading[:]
            keeper.notify()
            await seen(registry, lambda held: not held["w1"].worker.loading)
            me.worker.loading.append("later")
            keeper.notify()
            await seen(registry, lambda held: list(held["w1"].worker.loading) == ["later"])


async def test_closing_gives_the_lease_back() -> None:
    """A worker that ends is gone from the registry at once."""
    async with running_registry() as registry:
        async with running(Me().keeper(registry)):
            await seen(registry, lambda held: "w1" in held)
        await seen(registry, lambda held: held == {})


async def test_a_worker_comes_back_after_the_registry_restarts() -> None:
    """A new registry on the same port is joined under the next epoch, though the next renewal is far."""
    async with AsyncExitStack() as outlasting:
        async with running_registry() as registry:
            task = await outlasting.enter_async_context(running(Me().keeper(registry, renew_interval=FAR)))
        async with running_registry(registry):
            await seen(registry, lambda held: "w1" in held and held["w1"].epoch == 2)
            assert not task.done()


async def test_a_registry_that_is_down_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """The keeper tries until the registry is there, and says once that it is not."""
    registry = await free_address()
    tries = 0
    third = asyncio.Event()

    def describe() -> pb.Worker:
        nonlocal tries
        tries += 1
        if tries == 3:
            third.set()
        return worker()

    keeper = LeaseKeeper([registry], describe, pb.Load, answer_timeout=0.05)
    with caplog.at_level(logging.INFO, "inferloom_worker.joining"):
        task = asyncio.create_task(keeper.run())
        async with asyncio.timeout(PATIENCE_S):
            await third.wait()
            async with running_registry(registry):
                await keeper.registered()
                keeper.close()
                await task
    assert [each.levelname for each in own_records(caplog)].count("WARNING") == 1
    assert f"the registry at {registry} is back" in caplog.messages


async def test_closing_does_not_wait_for_a_registry_that_is_down() -> None:
    """A worker whose registry is gone ends at once."""
    keeper = Me().keeper(await free_address())
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    keeper.close()
    async with within(1):
        await task
    assert keeper.epoch == 0


async def test_an_expired_lease_is_replaced() -> None:
    """A worker that was silent too long registers again as soon as it is told."""
    clock = FakeClock()
    async with running_registry(clock=clock) as registry:
        keeper = Me().keeper(registry, renew_interval=FAR)
        async with running(keeper):
            await seen(registry, lambda held: held["w1"].load == pb.Load())
            for _ in range(100):
                clock.advance(TICK)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await seen(registry, lambda held: held == {})
            keeper.notify()
            await seen(registry, lambda held: "w1" in held and held["w1"].epoch == 2)


async def test_a_worker_whose_name_is_taken_over_stops() -> None:
    """The older of two processes with one name is fenced, and leaves the newer one's lease alone."""
    async with (
        running_registry() as registry,
        running(Me(address="127.0.0.1:1").keeper(registry)) as old,
        running(Me(address="127.0.0.1:2").keeper(registry)) as newer,
        asyncio.timeout(PATIENCE_S),
    ):
        with pytest.raises(FencedError):
            await old
        assert not newer.done()
        await seen(registry, lambda held: (held["w1"].worker.address, held["w1"].epoch) == ("127.0.0.1:2", 2))


async def test_a_worker_that_may_not_register_again_stops() -> None:
    """ALREADY_EXISTS at registration means the same as a fenced lease."""
    refusal = InferloomError(Reason.ALREADY_EXISTS, "The worker was registered again from elsewhere.")
    async with serving(Scripted(refusal)) as registry, asyncio.timeout(PATIENCE_S):
        with pytest.raises(FencedError, match="from elsewhere"):
            await Me().keeper(registry).run()


@pytest.mark.parametrize("address", ["8.8.8.8:7100", "nowhere"])
async def test_a_worker_that_the_registry_will_not_have_stops(address: str) -> None:
    """An address that is denied or malformed is a mistake to correct, not to repeat."""
    async with running_registry() as registry, asyncio.timeout(PATIENCE_S):
        with pytest.raises(RegistrationRefusedError):
            await Me(address=address).keeper(registry).run()


async def test_an_overloaded_registry_is_tried_again() -> None:
    """A refusal that passes is waited out."""
    scripted = Scripted(overloaded("Full."))
    async with serving(scripted) as registry:
        task = asyncio.create_task((keeper := Me().keeper(registry)).run())
        async with asyncio.timeout(PATIENCE_S):
            await scripted.refused.wait()
            scripted.refusal = None
            await keeper.registered()
        keeper.close()
        await task


async def test_a_renewal_without_an_answer_is_made_again() -> None:
    """A stream that went silent is given up, and the same lease is renewed on a new one."""
    scripted = Scripted(silent_streams=1)
    async with serving(scripted) as registry, running(Me().keeper(registry, answer_timeout=0.1)):
        async with asyncio.timeout(PATIENCE_S):
            renewal = await scripted.renewals.get()
        assert (renewal.lease_id, renewal.epoch) == ("l", 1)
        assert len(scripted.registrations) == 1


async def test_a_lost_registrys_lease_goes_to_the_next() -> None:
    """The same lease is renewed with another registry, and what the first was told is said there again."""
    ones = [Scripted(), Scripted()]
    me = Me()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(one)) for one in ones]
        keeper = LeaseKeeper(servers, lambda: me.worker, lambda: me.load, renew_interval=0.05)
        async with running(keeper), asyncio.timeout(PATIENCE_S):
            first = next(one for one in ones if one.registrations)
            other = next(one for one in ones if one is not first)
            await first.renewals.get()
            first.refusal = overloaded("It lost its store.")
            renewal = await other.renewals.get()
            assert (renewal.lease_id, renewal.epoch, renewal.capacity) == ("l", 1, 8)
            assert [each.id for each in renewal.models.models] == ["m"]
            assert not (await other.renewals.get()).HasField("models")
            assert not other.registrations


async def test_a_worker_goes_back_to_its_own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, so that workers are spread again when registries were restarted in turn."""
    monkeypatch.setattr(registry_choice, "RETURN_S", 0.2)
    ones = [Scripted(), Scripted()]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(one)) for one in ones]
        keeper = LeaseKeeper(servers, worker, pb.Load, renew_interval=0.02)
        async with running(keeper), asyncio.timeout(PATIENCE_S):
            own = next(one for one in ones if one.registrations)
            other = next(one for one in ones if one is not own)
            own.refusal = overloaded("It lost its store.")
            await other.renewals.get()
            own.refusal = None
            while not own.renewals.empty():
                own.renewals.get_nowait()
            await own.renewals.get()
            assert len(own.registrations) == 1


async def test_workers_are_spread_over_registries() -> None:
    """Each has one of its own, by its name."""
    ones = [Scripted(), Scripted()]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(one)) for one in ones]
        for number in range(20):
            me = Me(f"w{number}")
            keeper = LeaseKeeper(servers, lambda me=me: me.worker, pb.Load)  # type: ignore[misc] # bound now
            await stack.enter_async_context(running(keeper))
    assert all(len(one.registrations) >= 3 for one in ones)
