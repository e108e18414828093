"""Workers that are called as a registry tells of them."""

import asyncio
from typing import Any

import grpc
import pytest

from inferloom.client import AsyncClient, Client, InferloomError, directory, told
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_mesh.errors import InferloomError as Failure
from inferloom_mesh.errors import Reason
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.security import Security
from tests.cli.fake_mesh import FakeGateway, FakeRegistry
from tests.client.gateways import Busy, listed, served
from tests.patience import PATIENCE_S, until_async, within
from tests.wire.certificates import Certificates, certificates

__all__ = ["certificates"]


class Slow(FakeRegistry):
    """Counts who asks it, and takes its time."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__()
        self.delay_s = delay_s
        self.asked = 0

    async def ListWorkers(self, request: Any, context: Any) -> registry_pb2.ListWorkersResponse:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return await super().ListWorkers(request, context)


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_requests_that_come_together_are_spread_over_workers(kind: type[Any]) -> None:
    """A registry is asked once for all of them."""
    together = asyncio.Event()
    workers, registry = [Busy(together), Busy(together)], Slow()
    async with served(registry) as (known, _), served(workers[0]) as (one, _), served(workers[1]) as (two, _):
        registry.workers += [listed(one), listed(two)]
        client = kind(registry=known)

        async def chat() -> Any:
            if isinstance(client, Client):
                return await asyncio.to_thread(client.chat, "talker", "Hi")
            return await client.chat("talker", "Hi")

        count = 20 if kind is AsyncClient else 4  # as many threads as there are for sure
        asking = [asyncio.create_task(chat()) for _ in range(count)]
        await until_async(
            lambda: sum(len(each.requests) for each in workers), "all calls", lambda seen: seen == count
        )
        together.set()
        await asyncio.gather(*asking)
        assert registry.asked <= 2
        if isinstance(client, Client):
            await asyncio.to_thread(client.close)
        else:
            await client.close()
    assert all(abs(len(each.requests) - count / 2) <= count / 10 for each in workers)


async def test_a_registry_that_is_away_is_nothing_to_requests() -> None:
    """The last list holds, however old; and where there is none, the failure says so."""
    registry, worker = Slow(), FakeGateway()
    async with served(worker) as (address, _):
        async with served(registry) as (known, server):
            registry.workers.append(listed(address))
            asynchronous, synchronous = AsyncClient(registry=known), Client(registry=known)
            await asynchronous.chat("talker", "Hi")
            await asyncio.to_thread(synchronous.chat, "talker", "Hi")
            await server.stop(0)
        await asyncio.sleep(1.1)  # a new list is due
        for _ in range(2):
            async with within(2):
                assert (await asynchronous.chat("talker", "Hi")).text == "Paris."
                assert (await asyncio.to_thread(synchronous.chat, "talker", "Hi")).text == "Paris."
                assert [model.id for model in await asynchronous.models()] == ["talker"]
        await asynchronous.close()
        await asyncio.to_thread(synchronous.close)
        async with AsyncClient(registry=known, retries=0) as late:
            with pytest.raises(InferloomError) as lost:
                await late.chat("talker", "Hi")
        assert lost.value.lost


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_requests_that_come_together_wait_for_a_new_list_where_theirs_is_old(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is asked of a worker that has gone meanwhile."""
    monkeypatch.setattr(directory, "_OLD_S", 0.2)
    monkeypatch.setattr(told, "MOMENT_S", 2 * PATIENCE_S)
    monkeypatch.setattr(directory, "FRESH_S", 0.1)
    gone, there, registry = FakeGateway(), FakeGateway(), Slow()
    async with served(registry) as (known, _), served(gone) as (one, _), served(there) as (two, _):
        registry.workers.append(listed(one))
        client = kind(registry=known)

        async def chat() -> Any:
            if isinstance(client, Client):
                return await asyncio.to_thread(client.chat, "talker", "Hi")
            return await client.chat("talker", "Hi")

        await chat()
        registry.workers[:] = [listed(two)]
        registry.delay_s = 0.05
        await asyncio.sleep(0.3)
        await asyncio.gather(*(chat() for _ in range(20)))
        if isinstance(client, Client):
            await asyncio.to_thread(client.close)
        else:
            await client.close()
    assert (len(gone.requests), len(there.requests)) == (1, 20)


class Hung(FakeGateway):
    """Never answers."""

    async def Tokenize(self, request: Any, context: Any) -> pb.TokenizeResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_the_time_of_a_request_bounds_all_of_it() -> None:
    """What the registry takes is not had again by the worker."""
    registry, worker = Slow(1.0), Hung()
    async with served(registry) as (known, _), served(worker) as (address, _):
        registry.workers.append(listed(address))
        async with AsyncClient(registry=known, timeout=2) as client, within(2.8):
            with pytest.raises(InferloomError) as over:
                await client.tokenize("talker", "Hi")
    assert over.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


class Unloaded(FakeGateway):
    """Has unloaded what the registry still tells of."""

    async def Generate(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        raise Failure(Reason.MODEL_NOT_FOUND, "It was unloaded.")
        yield


async def test_a_model_that_one_worker_has_unloaded_is_asked_of_another() -> None:
    """While there is one."""
    gone, worker, registry = Unloaded(), FakeGateway(), Slow()
    async with served(registry) as (known, _), served(gone) as (one, _), served(worker) as (two, _):
        registry.workers.append(listed(one))
        async with AsyncClient(registry=known) as client:
            with pytest.raises(InferloomError) as absent:
                await client.chat("talker", "Hi")
            assert (absent.value.reason, len(gone.requests)) == ("MODEL_NOT_FOUND", 1)
        registry.workers.append(listed(two))
        registry.workers[1].load.running = 3
        async with AsyncClient(registry=known) as client:
            assert (await client.chat("talker", "Hi")).text == "Paris."
    assert len(gone.requests) == 2


async def test_models_are_those_that_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a draining worker has is not told, and a new registry is asked again."""
    monkeypatch.setattr(directory, "_SETTLING_S", 0.05)
    registry = Slow()
    async with served(registry) as (known, _):
        registry.workers += [listed("a:1"), listed("b:1", "draining")]
        registry.workers[1].worker.state = registry_pb2.WORKER_STATE_DRAINING
        registry.settling = 1
        async with AsyncClient(registry=known) as client:
            assert [model.id for model in await client.models()] == ["talker"]
    assert registry.asked == 2


async def test_a_mesh_with_certificates_is_called_as_an_operator(certificates: Certificates) -> None:
    """Its parts' certificates name what they are, and no host that leads there."""
    elsewhere = ("elsewhere.example",)
    for role in ("registry", "worker"):
        certificates.of(role, f"{role}-1", hosts=elsewhere)
    folder = certificates.of("operator")
    authority, key, certificate = ((folder / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    registry, worker = Slow(), FakeGateway()
    async with (
        served(registry, security=certificates.security("registry", "registry-1")) as (known, _),
        served(worker, security=certificates.security("worker", "worker-1")) as (address, _),
    ):
        registry.workers.append(listed(address))
        async with AsyncClient(registry=known, credentials=credentials) as client:
            assert (await client.chat("talker", "Hi")).text == "Paris."


async def test_a_mesh_with_a_secret_is_shown_it() -> None:
    """And nobody else is."""
    secret = "a secret of the mesh's own"
    security, registry, worker = Security(MeshSecret(secret)), Slow(), FakeGateway()
    async with (
        served(registry, security=security) as (known, _),
        served(worker, security=security) as (at, _),
    ):
        registry.workers.append(listed(at))
        for of_a_file in (f"{secret}\n", f"\n {secret} \nthe next secret, which is taken"):
            async with AsyncClient(registry=known, mesh_secret=of_a_file) as client:
                assert (await client.chat("talker", "Hi")).text == "Paris."
        async with AsyncClient(registry=known) as client:
            with pytest.raises(InferloomError) as refused:
                await client.chat("talker", "Hi")
    assert refused.value.reason == "NOT_A_PEER"
    for how in (
        {"gateway": "a:1", "mesh_secret": secret},
        {"registry": "a:1", "mesh_secret": "short" + 20 * "\n"},
    ):
        with pytest.raises(ValueError, match="secret"):
            Client(**how)  # type: ignore[arg-type] # as either is made
