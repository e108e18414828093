import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_registry.service import SERVICE, TICK
from tests.patience import PATIENCE_S
from tests.registry.clock import FakeClock
from tests.registry.running import running_registry
from tests.registry.samples import TTL, worker
from tests.wire.standard import health_stub, reflection_stub


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def channel(clock: FakeClock) -> AsyncIterator[grpc.aio.Channel]:
    async with running_registry(clock=clock) as address, open_channel(address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return RegistryServiceStub(channel)


async def register(stub: Any, described: pb.Worker | None = None, **fields: Any) -> pb.RegisterResponse:
    response: pb.RegisterResponse = await stub.Register(
        pb.RegisterRequest(worker=described or worker(), **fields), timeout=PATIENCE_S
    )
    return response


async def listed(stub: Any, model: str = "") -> list[pb.RegisteredWorker]:
    return list((await stub.ListWorkers(pb.ListWorkersRequest(model=model), timeout=PATIENCE_S)).workers)


async def renew(call: Any, lease_id: str, epoch: int, **fields: Any) -> pb.KeepAliveResponse:
    async with asyncio.timeout(PATIENCE_S):
        await call.write(pb.KeepAliveRequest(lease_id=lease_id, epoch=epoch, **fields))
        response: pb.KeepAliveResponse = await call.read()
    return response


async def next_of(watch: Any) -> pb.WatchResponse:
    async with asyncio.timeout(PATIENCE_S):
        response: pb.WatchResponse = await watch.read()
    return response


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let the registry's ticker see time pass."""
    for _ in range(round(seconds / TICK)):
        clock.advance(TICK)
        await asyncio.sleep(0)  # the ticker, which is woken, runs
        await asyncio.sleep(0)


def details(failure: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The reason of the one ErrorInfo, and the fields at fault."""
    status = rpc_status.from_call(failure)  # type: ignore[arg-type]
    assert status is not None
    infos, fields = [], []
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            infos.append(info)
        if detail.Unpack(bad):
            fields += [violation.field for violation in bad.field_violations]
    [info] = infos
    assert info.domain == "inferloom"
    return info.reason, fields


async def test_a_worker_that_registers_is_listed(stub: Any, clock: FakeClock) -> None:
    """Register grants a lease of the default TTL, to be renewed three times as often."""
    granted = await register(stub)
    assert granted.lease_id
    assert granted.epoch == 1
    assert (granted.ttl.ToSeconds(), granted.renew_interval.ToSeconds()) == (6, 2)
    clock.advance(1)
    [found] = await listed(stub)
    assert (found.worker, found.epoch, found.lease_state) == (worker(), 1, pb.LEASE_STATE_ACTIVE)
    assert (found.last_renewal_age.ToSeconds(), found.ttl.ToSeconds()) == (1, 5)
    assert found.registered_at.ToSeconds() > 1_700_000_000


async def test_workers_are_listed_by_model(stub: Any) -> None:
    """An unknown model has no workers, which is no error."""
    await register(stub, worker("b", "m", "n"))
    await register(stub, worker("a", "m"))
    assert [each.worker.id for each in await listed(stub)] == ["a", "b"]
    assert [each.worker.id for each in await listed(stub, "n")] == ["b"]
    assert await listed(stub, "nobody's") == []


async def test_a_worker_may_ask_for_its_ttl(stub: Any) -> None:
    """From 2 s to 60 s."""
    request = pb.RegisterRequest(worker=worker())
    request.ttl.FromSeconds(60)
    assert (await stub.Register(request, timeout=PATIENCE_S)).ttl.ToSeconds() == 60


async def test_renewals_are_answered_one_by_one(stub: Any, clock: FakeClock) -> None:
    """A renewal restores the TTL and takes up state, models and load."""
    granted = await register(stub)
    call = stub.KeepAlive()
    clock.advance(5)
    models = pb.ModelSet(models=[inference_pb2.Model(id="n")])
    answer = await renew(
        call,
        granted.lease_id,
        1,
        load=pb.Load(running=3),
        state=pb.WORKER_STATE_DRAINING,
        models=models,
    )
    assert (answer.lease_id, answer.ttl.ToSeconds(), answer.loss) == (granted.lease_id, 6, 0)
    [found] = await listed(stub, "n")
    assert (found.worker.state, found.load.running) == (pb.WORKER_STATE_DRAINING, 3)
    call.cancel()


async def test_a_lost_lease_is_answered_and_the_stream_goes_on(stub: Any) -> None:
    """Unknown, fenced and given-back leases get a zero TTL and the reason; a good one is then renewed."""
    old = await register(stub)
    new = await register(stub)
    gone = await register(stub, worker("gone"))
    await stub.Deregister(pb.DeregisterRequest(lease_id=gone.lease_id, epoch=gone.epoch), timeout=PATIENCE_S)
    call = stub.KeepAlive()
    answers = [
        await renew(call, lease_id, epoch)
        for lease_id, epoch in (
            ("nobody's", 1),
            (old.lease_id, old.epoch),
            (new.lease_id, old.epoch),
            (gone.lease_id, gone.epoch),
            (new.lease_id, new.epoch),
        )
    ]
    assert [(answer.ttl.ToSeconds(), answer.loss) for answer in answers] == [
        (0, pb.LEASE_LOSS_UNKNOWN),
        (0, pb.LEASE_LOSS_FENCED),
        (0, pb.LEASE_LOSS_FENCED),
        (0, pb.LEASE_LOSS_DEREGISTERED),
        (6, pb.LEASE_LOSS_UNSPECIFIED),
    ]
    call.cancel()


async def test_a_silent_worker_is_suspected_then_removed(stub: Any, clock: FakeClock) -> None:
    """Watchers see SUSPECT at the TTL and the removal half a TTL later; its lease is then expired."""
    await pass_time(clock, TTL)
    granted = await register(stub)
    watch = stub.Watch(pb.WatchRequest())
    assert (await next_of(watch)).snapshot.workers[0].lease_state == pb.LEASE_STATE_ACTIVE
    await pass_time(clock, TTL)
    assert (await next_of(watch)).put.lease_state == pb.LEASE_STATE_SUSPECT
    await pass_time(clock, TTL / 2)
    removed = (await next_of(watch)).removed
    assert removed == pb.WorkerRemoved(worker_id="w1", epoch=1, reason=pb.LEASE_LOSS_EXPIRED)
    call = stub.KeepAlive()
    assert (await renew(call, granted.lease_id, 1)).loss == pb.LEASE_LOSS_EXPIRED
    call.cancel()
    watch.cancel()


async def test_watch_sends_a_snapshot_then_changes(stub: Any) -> None:
    """A snapshot that says the registry is settling, then put, load and removed."""
    watch = stub.Watch(pb.WatchRequest())
    first = await next_of(watch)
    assert (list(first.snapshot.workers), first.snapshot.settling) == ([], True)
    granted = await register(stub)
    put = await next_of(watch)
    assert (put.put.worker, put.registry_id) == (worker(), first.registry_id)
    call = stub.KeepAlive()
    await renew(call, granted.lease_id, 1, load=pb.Load(running=1))
    load = await next_of(watch)
    assert load.load == pb.WorkerLoad(worker_id="w1", epoch=1, load=pb.Load(running=1))
    await stub.Deregister(pb.DeregisterRequest(lease_id=granted.lease_id, epoch=1), timeout=PATIENCE_S)
    removed = await next_of(watch)
    assert removed.removed.reason == pb.LEASE_LOSS_DEREGISTERED
    revisions = [each.revision for each in (first, put, load, removed)]
    assert revisions == sorted(set(revisions))
    call.cancel()
    watch.cancel()


async def test_a_watch_resumes(stub: Any) -> None:
    """From a revision of this registry only later changes come; from another's, a snapshot."""
    await register(stub, worker("a"))
    seen = await stub.ListWorkers(pb.ListWorkersRequest(), timeout=PATIENCE_S)
    await register(stub, worker("b"))
    resumed = stub.Watch(pb.WatchRequest(from_revision=seen.revision, registry_id=seen.registry_id))
    assert (await next_of(resumed)).put.worker.id == "b"
    other = stub.Watch(pb.WatchRequest(from_revision=seen.revision, registry_id="another"))
    assert len((await next_of(other)).snapshot.workers) == 2
    resumed.cancel()
    other.cancel()


async def test_the_end_of_settling_is_told(stub: Any, clock: FakeClock) -> None:
    """One TTL after the start watchers are sent the complete set."""
    watch = stub.Watch(pb.WatchRequest())
    assert (await next_of(watch)).snapshot.settling
    await pass_time(clock, TTL)
    last = await next_of(watch)
    assert (last.HasField("snapshot"), last.snapshot.settling) == (True, False)
    watch.cancel()


async def test_who_lists_workers_is_told_whether_all_may_have_come_back(stub: Any, clock: FakeClock) -> None:
    """One that is missing before that is not to be taken for gone."""
    assert (await stub.ListWorkers(pb.ListWorkersRequest(), timeout=PATIENCE_S)).settling
    await pass_time(clock, TTL)
    assert not (await stub.ListWorkers(pb.ListWorkersRequest(), timeout=PATIENCE_S)).settling


async def test_giving_back_a_lease_that_is_gone_is_no_error(stub: Any) -> None:
    """Deregistering twice, or with an old lease, changes nothing."""
    old = await register(stub)
    new = await register(stub)
    for lease_id, epoch in ((old.lease_id, 1), ("nobody's", 1), (new.lease_id, 1)):
        await stub.Deregister(pb.DeregisterRequest(lease_id=lease_id, epoch=epoch), timeout=PATIENCE_S)
    assert [each.epoch for each in await listed(stub)] == [2]


def _change(change: Callable[[pb.RegisterRequest], object]) -> pb.RegisterRequest:
    request = pb.RegisterRequest(worker=worker())
    change(request)
    return request


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (pb.RegisterRequest(), "worker.id"),
        (_change(lambda r: setattr(r.worker, "id", "Not Good")), "worker.id"),
        (_change(lambda r: setattr(r.worker, "address", "nowhere")), "worker.address"),
        (_change(lambda r: setattr(r.worker, "capacity", 0)), "worker.capacity"),
        (_change(lambda r: r.worker.models.add()), "worker.models[1].id"),
        (_change(lambda r: setattr(r.worker, "state", 42)), "worker.state"),
        (_change(lambda r: r.ttl.FromMilliseconds(1999)), "ttl"),
        (_change(lambda r: r.ttl.FromMilliseconds(60001)), "ttl"),
        (_change(lambda r: r.ttl.FromSeconds(-6)), "ttl"),
        (_change(lambda r: setattr(r.ttl, "seconds", 2**63 - 1)), "ttl"),
        (_change(lambda r: setattr(r, "previous_epoch", 2**64 - 1)), "previous_epoch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_registration_is_refused_and_the_next_is_fine(
    stub: Any, request_: pb.RegisterRequest, param: str
) -> None:
    """INVALID_ARGUMENT with one ErrorInfo and the field; nothing is registered, and the registry goes on."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Register(request_, timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(caught.value) == ("INVALID_ARGUMENT", [param])
    assert await listed(stub) == []
    assert (await register(stub)).epoch == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"lease_id": ""}, "lease_id"),
        ({"epoch": 0}, "epoch"),
        ({"load": pb.Load(tokens_per_second=float("nan"))}, "load.tokens_per_second"),
        ({"load": pb.Load(tokens_per_second=float("inf"))}, "load.tokens_per_second"),
        ({"state": 42}, "state"),
        ({"capacity": 65_537}, "capacity"),
        ({"models": pb.ModelSet(loading=[""])}, "models.loading[0]"),
        ({"models": pb.ModelSet(models=[inference_pb2.Model()])}, "models[0].id"),
        ({"models": pb.ModelSet(models=[inference_pb2.Model(id="m", root="x" * 2**20)])}, "models"),
    ],
)
async def test_a_bad_renewal_is_refused_and_the_lease_is_fine(
    stub: Any, fields: dict[str, Any], param: str
) -> None:
    """Its stream ends with INVALID_ARGUMENT; the lease is as it was and can be renewed on a new stream."""
    granted = await register(stub)
    call = stub.KeepAlive()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await renew(call, **{"lease_id": granted.lease_id, "epoch": 1, **fields})
    assert details(caught.value) == ("INVALID_ARGUMENT", [param])
    again = stub.KeepAlive()
    assert (await renew(again, granted.lease_id, 1)).ttl.ToSeconds() == 6
    assert (await listed(stub))[0].worker == worker()
    again.cancel()


async def test_an_address_outside_the_networks_is_denied(stub: Any) -> None:
    """PERMISSION_DENIED: nobody can make the mesh connect to where it should not."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await register(stub, worker(address="8.8.8.8:443"))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert details(caught.value) == ("PERMISSION_DENIED", [])


async def test_an_older_process_is_refused(stub: Any) -> None:
    """ALREADY_EXISTS for one that comes back after its name was taken over from elsewhere."""
    await register(stub, worker(address="127.0.0.1:2"), previous_epoch=5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await register(stub, worker(address="127.0.0.1:1"), previous_epoch=4)
    assert details(caught.value) == ("ALREADY_EXISTS", [])


async def test_bytes_that_are_no_message_are_refused(channel: grpc.aio.Channel, stub: Any) -> None:
    """INVALID_ARGUMENT rather than INTERNAL, and the next request is fine."""
    raw: Any = channel.unary_unary(f"/{SERVICE}/Register")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw(b"\xff\xff\xff", timeout=PATIENCE_S)
    assert details(caught.value)[0] == "INVALID_ARGUMENT"
    assert (await register(stub)).epoch == 1


async def test_a_caller_that_leaves_disturbs_nobody(stub: Any) -> None:
    """Cancelled watches and renewals leave the lease and other watches as they were."""
    granted = await register(stub)
    leaving, staying, call = stub.Watch(pb.WatchRequest()), stub.Watch(pb.WatchRequest()), stub.KeepAlive()
    await next_of(leaving)
    await next_of(staying)
    await renew(call, granted.lease_id, 1)
    leaving.cancel()
    call.cancel()
    await register(stub, worker("w2"))
    assert (await next_of(staying)).put.worker.id == "w2"
    assert [each.worker.id for each in await listed(stub)] == ["w1", "w2"]
    staying.cancel()


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_says_serving(channel: grpc.aio.Channel, service: str) -> None:
    """Overall and for the service."""
    health = health_stub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_names_the_service(channel: grpc.aio.Channel) -> None:
    """So grpcurl needs no files."""
    stub = reflection_stub(channel)
    call = stub.ServerReflectionInfo(timeout=PATIENCE_S)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    await call.done_writing()
    assert SERVICE in [service.name for service in answer.list_services_response.service]


async def test_a_registry_that_stops_ends_its_watches(clock: FakeClock) -> None:
    """Watchers are told UNAVAILABLE at once rather than left waiting."""
    async with AsyncExitStack() as outlasting:
        async with running_registry(clock=clock) as address:
            channel = await outlasting.enter_async_context(open_channel(address))
            watch: Any = RegistryServiceStub(channel).Watch(pb.WatchRequest())
            await next_of(watch)
            leaving = asyncio.create_task(next_of(watch))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await leaving
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_port_that_is_taken_is_an_error(clock: FakeClock) -> None:
    """A second registry on the same port fails with a clear error rather than sharing it."""
    async with running_registry(clock=clock) as address:
        with pytest.raises(OSError, match="cannot listen"):
            async with running_registry(address, clock=clock):
                pass
