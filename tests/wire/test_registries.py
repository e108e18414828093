"""Registries that share a real etcd: what workers, watchers and operators see of them."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from faulting.etcd import Cluster, Member, etcd_cluster, etcdctl
from faulting.parts import free_ports
from grpc_health.v1 import health_pb2

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_registry.service import serve
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.joining.lease import LeaseKeeper
from tests.patience import PATIENCE_S, until_async
from tests.registry.running import ANY_PORT, running_registry
from tests.registry.samples import worker
from tests.wire.certificates import Certificates, certificates
from tests.wire.etcd_needed import needs_etcd
from tests.wire.standard import health_stub

__all__ = ["certificates"]

pytestmark = needs_etcd

numbers = count()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with etcd_cluster() as cluster:
        yield cluster


@pytest.fixture
def shared(etcd: Cluster) -> dict[str, Any]:
    """Settings of registries with a set of workers of their own."""
    return {
        "etcd": etcd.joined,
        "etcd_prefix": f"/test-{next(numbers)}/",
        "registry_metrics_listen": "none",
        "settle_s": 0,
    }


@asynccontextmanager
async def calling(address: Address) -> AsyncIterator[Any]:
    async with open_channel(address) as channel:
        yield RegistryServiceStub(channel)


async def listed(address: Address) -> dict[str, pb.RegisteredWorker]:
    async with calling(address) as stub:
        answer = await stub.ListWorkers(pb.ListWorkersRequest(), timeout=PATIENCE_S)
    return {each.worker.id: each for each in answer.workers}


async def until_kept_by(address: Address, *, here: bool) -> pb.RegisteredWorker:
    """Wait until a registry says that it keeps the worker, or that another one does."""
    rows = await until_async(
        lambda: listed(address),
        "its keeper",
        lambda seen: "w1" in seen and seen["w1"].HasField("ttl") == here,
    )
    return rows["w1"]


async def test_a_lease_outlives_the_registry_that_granted_it(shared: dict[str, Any]) -> None:
    """The worker renews with the other one: the same epoch, and what it is by then is known there."""
    async with AsyncExitStack() as stack:
        stops = [await stack.enter_async_context(AsyncExitStack()) for _ in range(2)]
        two = [await each.enter_async_context(running_registry(**shared)) for each in stops]
        me = worker("w1")
        keeper = LeaseKeeper(two, lambda: me, pb.Load, renew_interval=0.1)
        keeping = asyncio.create_task(keeper.run())
        await keeper.registered()
        rows = [await listed(each) for each in two]
        first = next(n for n, row in enumerate(rows) if row["w1"].HasField("ttl"))
        other = await until_kept_by(two[1 - first], here=False)
        assert (other.epoch, other.worker) == (keeper.epoch, me)
        me.state = pb.WORKER_STATE_DRAINING
        await stops[first].aclose()
        taken = await until_kept_by(two[1 - first], here=True)
        assert (taken.epoch, taken.worker.state) == (other.epoch, pb.WORKER_STATE_DRAINING)
        keeper.close()
        await keeping
        assert await listed(two[1 - first]) == {}


async def test_a_lost_registrys_silent_worker_is_removed_by_the_other(shared: dict[str, Any]) -> None:
    """A TTL and a half after the registry went; a gateway that watches the other one is told."""
    async with running_registry(**shared) as other, calling(other) as stub:
        async with running_registry(**shared) as lost, calling(lost) as granting:
            request = pb.RegisterRequest(worker=worker("w1"))
            request.ttl.FromSeconds(2)
            granted = await granting.Register(request, timeout=PATIENCE_S)
        watch = stub.Watch(pb.WatchRequest())
        async with asyncio.timeout(PATIENCE_S):
            assert [each.epoch for each in (await watch.read()).snapshot.workers] == [granted.epoch]
            assert (await watch.read()).put.lease_state == pb.LEASE_STATE_SUSPECT
            assert (await watch.read()).removed.reason == pb.LEASE_LOSS_EXPIRED
        watch.cancel()


async def test_who_comes_from_another_registry_is_told_no_less(shared: dict[str, Any]) -> None:
    """A worker that one registry has just granted a lease is in the other's snapshot, and can renew there."""
    async with (
        running_registry(**shared) as a,
        running_registry(**shared) as b,
        calling(a) as granting,
        calling(b) as other,
    ):
        for number in range(20):
            granted = await granting.Register(
                pb.RegisterRequest(worker=worker(f"w{number}")), timeout=PATIENCE_S
            )
            call = other.KeepAlive()
            await call.write(pb.KeepAliveRequest(lease_id=granted.lease_id, epoch=granted.epoch))
            assert not (await call.read()).loss
            call.cancel()
            watch = other.Watch(pb.WatchRequest(from_revision=1, registry_id="another"))
            names = {each.worker.id for each in (await watch.read()).snapshot.workers}
            assert f"w{number}" in names
            watch.cancel()


async def test_a_newer_registration_fences_the_older_at_every_registry(shared: dict[str, Any]) -> None:
    """Epochs rise over registries, also of a worker that was gone meanwhile."""
    async with (
        running_registry(**shared) as a,
        running_registry(**shared) as b,
        calling(a) as one,
        calling(b) as two,
    ):
        old = await one.Register(pb.RegisterRequest(worker=worker("w1")), timeout=PATIENCE_S)
        new = await two.Register(pb.RegisterRequest(worker=worker("w1")), timeout=PATIENCE_S)
        assert new.epoch > old.epoch
        call = one.KeepAlive()
        await call.write(pb.KeepAliveRequest(lease_id=old.lease_id, epoch=old.epoch))
        assert (await call.read()).loss == pb.LEASE_LOSS_FENCED
        call.cancel()
        await one.Deregister(pb.DeregisterRequest(lease_id=new.lease_id, epoch=new.epoch), timeout=PATIENCE_S)
    async with running_registry(**shared) as c, calling(c) as three:
        assert (
            await three.Register(pb.RegisterRequest(worker=worker("w1")), timeout=PATIENCE_S)
        ).epoch > new.epoch


async def test_registries_that_start_again_have_the_whole_set_at_once(
    etcd: Cluster, shared: dict[str, Any]
) -> None:
    """Nothing was forgotten, so it is not said to be settling, and a lease goes on."""
    del shared["settle_s"]
    async with running_registry(**shared) as a, calling(a) as stub:
        granted = await stub.Register(pb.RegisterRequest(worker=worker("w1")), timeout=PATIENCE_S)
    async with running_registry(**shared) as b, calling(b) as stub:
        await asyncio.sleep(0.5)
        watch = stub.Watch(pb.WatchRequest())
        snapshot = (await watch.read()).snapshot
        assert ([each.worker.id for each in snapshot.workers], snapshot.settling) == (["w1"], False)
        call = stub.KeepAlive()
        await call.write(pb.KeepAliveRequest(lease_id=granted.lease_id, epoch=granted.epoch))
        assert not (await call.read()).loss
        call.cancel()
        watch.cancel()


async def test_a_registry_that_starts_without_its_store_is_not_ready_and_says_why(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It listens, refuses workers in words, and becomes ready when etcd comes."""
    [client, peer, listens] = (Address("127.0.0.1", port) for port in free_ports(3))
    member = Member("m0", tmp_path, client, peer, f"m0=http://{peer}")
    told = RegistrySettings(
        registry_listen=listens,
        etcd=str(client),
        registry_metrics_listen=None,
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(told, stop, lambda _: ready.set()))
    try:
        async with open_channel(listens) as channel, asyncio.timeout(PATIENCE_S):
            stub: Any = RegistryServiceStub(channel)
            health = health_stub(channel)
            asked = health_pb2.HealthCheckRequest()
            answer = await health.Check(asked, timeout=PATIENCE_S, wait_for_ready=True)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            while "not ready: etcd cannot be used" not in caplog.text:  # noqa: ASYNC110 # a log tells nobody
                await asyncio.sleep(0.02)
            with pytest.raises(grpc.aio.AioRpcError, match="lost its store: etcd cannot be used"):
                await stub.Register(pb.RegisterRequest(worker=worker()), timeout=PATIENCE_S)
            assert "etcd cannot be used" in (await stub.ListWorkers(pb.ListWorkersRequest())).frozen
            assert not ready.is_set()
            member.start()
            await ready.wait()
            assert (
                await health.Check(asked, timeout=PATIENCE_S)
            ).status == health_pb2.HealthCheckResponse.SERVING
            await stub.Register(pb.RegisterRequest(worker=worker()), timeout=PATIENCE_S)
    finally:
        stop.set()
        await serving
        member.stop()


@pytest.mark.slow
async def test_an_etcd_that_hangs_freezes_the_set_until_it_is_back(
    etcd: Cluster, shared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Watchers are told, nobody expires meanwhile, and a worker keeps its lease."""
    async with running_registry(**shared) as registry, calling(registry) as stub:
        request = pb.RegisterRequest(worker=worker("w1"))
        # Long enough that a busy machine notices the hanging store before the lease is over.
        request.ttl.FromSeconds(5)
        granted = await stub.Register(request, timeout=PATIENCE_S)
        watch = stub.Watch(pb.WatchRequest())
        assert not (await watch.read()).snapshot.frozen
        etcd.members[0].kill(signal.SIGSTOP)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (told := await watch.read()).HasField("snapshot"):
                    pass
            assert told.snapshot.frozen
            assert [each.worker.id for each in told.snapshot.workers] == ["w1"]
            call = stub.KeepAlive()
            await call.write(pb.KeepAliveRequest(lease_id=granted.lease_id, epoch=granted.epoch))
            with pytest.raises(grpc.aio.AioRpcError, match="lost its store"):
                await call.read()
            await asyncio.sleep(5.5)  # longer than the lease
        finally:
            etcd.members[0].kill(signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_S):
            told = await watch.read()
        assert (told.snapshot.frozen, len(told.snapshot.workers)) == ("", 1)
        call = stub.KeepAlive()
        await call.write(pb.KeepAliveRequest(lease_id=granted.lease_id, epoch=granted.epoch))
        assert not (await call.read()).loss
        call.cancel()
        watch.cancel()
    assert "ALARM: the store is out of reach" in caplog.text
    assert "alarm over: the store is back" in caplog.text


async def test_etcd_with_certificates_and_users(
    tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS both ways and a password from a file; a wrong password is said, and a token that etcd has forgotten
    is taken anew."""
    [client, peer] = (Address("127.0.0.1", port) for port in free_ports(2))
    server, mine = certificates.of("registry", "etcd"), certificates.of("registry", "r")
    member = Member("m0", tmp_path, client, peer, f"m0=http://{peer}", tls=(certificates.ca, server))
    member.start()
    try:
        shown = ("--cacert", f"{certificates.ca}", "--cert", f"{mine}/tls.crt", "--key", f"{mine}/tls.key")
        while True:
            try:
                etcdctl(client, *shown, "user", "add", "root:rootpass")
                break
            except subprocess.CalledProcessError:  # it does not answer yet
                await asyncio.sleep(0.05)
        etcdctl(client, *shown, "role", "add", "inferloom")
        etcdctl(
            client,
            *shown,
            "role",
            "grant-permission",
            "inferloom",
            "--prefix=true",
            "readwrite",
            "/inferloom/",
        )
        etcdctl(client, *shown, "user", "add", "mesh:secret one")
        etcdctl(client, *shown, "user", "grant-role", "mesh", "inferloom")
        etcdctl(client, *shown, "user", "grant-role", "root", "root")
        etcdctl(client, *shown, "auth", "enable")
        password = tmp_path / "password"
        password.write_text("secret one\n")
        settings: dict[str, Any] = {
            "etcd": str(client),
            "etcd_ca_file": certificates.ca,
            "etcd_certificate_file": mine / "tls.crt",
            "etcd_key_file": mine / "tls.key",
            "etcd_user": "mesh",
            "etcd_password_file": password,
            "registry_metrics_listen": "none",
        }
        async with running_registry(**settings) as registry, calling(registry) as stub:
            granted = await stub.Register(pb.RegisterRequest(worker=worker("w1")), timeout=PATIENCE_S)
            member.kill(signal.SIGKILL)  # its tokens are in its memory
            member.start()
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        again = await stub.Register(
                            pb.RegisterRequest(worker=worker("w1")), timeout=PATIENCE_S
                        )
                        break
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.1)
            assert again.epoch > granted.epoch
        password.write_text("wrong")
        stop, ready = asyncio.Event(), asyncio.Event()
        told = RegistrySettings(registry_listen=ANY_PORT, **settings)
        serving = asyncio.create_task(serve(told, stop, lambda _: ready.set()))
        async with asyncio.timeout(PATIENCE_S):
            while "authentication failed" not in caplog.text:  # noqa: ASYNC110 # a log tells nobody
                await asyncio.sleep(0.02)
        stop.set()
        await serving
        assert not ready.is_set()
        assert "secret one" not in caplog.text
    finally:
        member.stop()
