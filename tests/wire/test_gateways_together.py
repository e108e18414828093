"""Several gateways of one mesh: each tells what all of them know."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_cli.calls import calling
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import NOTHING
from inferloom_cli.doctor.clocks import read_clocks
from inferloom_cli.gateway_door import door_of
from inferloom_cli.refusal import RefusedError
from inferloom_gateway.access.stores.opening import open_store
from inferloom_gateway.service import serve
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_mesh.secret import MeshSecret, metadata_of
from tests.patience import PATIENCE_S, undisturbed, within
from tests.registry.running import running_registry
from tests.wire.certificates import Certificates, certificates
from tests.wire.fake_worker import ANYWHERE, FakeWorker
from tests.wire.test_gateway_migration import BODY

__all__ = ["certificates"]

SECRET = "of the mesh, which has it in common"  # a test's

SHOWN = metadata_of(MeshSecret(SECRET))


@dataclass
class Running:
    """A gateway."""

    rest: Address
    door: Address
    channel: grpc.aio.Channel
    stop: asyncio.Event
    serving: "asyncio.Task[None]"

    @property
    def ask(self) -> Any:
        """What asks it."""
        return GatewayServiceStub(self.channel)

    async def seen(self) -> pb.Mesh:
        """The mesh as all see it."""
        mesh: pb.Mesh = (await self.ask.GetMesh(pb.GetMeshRequest())).mesh
        return mesh

    async def chat(self, name: str) -> int:
        """Make a request of a name; its status."""
        async with httpx.AsyncClient(base_url=f"http://{self.rest}") as http:
            answer = await http.post("/v1/chat/completions", json=BODY, headers={"x-request-id": name})
            return answer.status_code


@asynccontextmanager
async def gateway(registry: Address, name: str, **settings: Any) -> AsyncIterator[Running]:
    """Run one."""
    told: asyncio.Future[tuple[Address, Address]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    configured = GatewaySettings(
        registry=registry, gateway_listen=ANYWHERE, gateway_grpc_listen=ANYWHERE,
        gateway_metrics_listen=None, gateway_name=name, no_store=True, drain_limit_s=1, **settings,
    )  # fmt: skip
    serving = asyncio.create_task(serve(configured, stop, lambda *found: told.set_result(found)))
    either: set[asyncio.Future[Any]] = {serving, told}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        rest, grpc_address = told.result()
        async with open_channel(grpc_address) as channel:
            yield Running(rest, grpc_address, channel, stop, serving)
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def mesh(*names: str, **settings: Any) -> AsyncIterator[tuple[list[Running], Address]]:
    """A registry, a worker, and gateways."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(
            running_registry(registry_metrics_listen=None, settle_s=0, **settings)
        )
        worker = await FakeWorker().start()
        stack.push_async_callback(worker.kill)
        async with open_channel(registry) as channel:
            shown = SHOWN if settings else ()
            row = worker.registered().worker
            asked = registry_pb2.RegisterRequest(worker=row)
            asked.ttl.FromSeconds(60)
            await RegistryServiceStub(channel).Register(asked, metadata=shown)
        gateways = [await stack.enter_async_context(gateway(registry, name, **settings)) for name in names]
        async with asyncio.timeout(PATIENCE_S):  # each says that it is there as soon as it listens
            for each in gateways:
                while len((await each.seen()).processes) < len(names):
                    pass  # each look is a call that gives way to everything else
        yield gateways, registry


@undisturbed(0.3)
async def test_any_gateway_tells_of_all() -> None:
    """The mesh as all of them see it, and a request that another one had; also as it changes."""
    async with mesh("east", "west") as ([east, west], _):
        assert await west.chat("r1") == 200
        seen = await east.seen()
        async with asyncio.timeout(PATIENCE_S):  # what another one tells may be one look old
            while sum(each.totals.requests for each in seen.processes) < 1:
                seen = await east.seen()
        assert [each.gateway for each in seen.processes] == ["east", "west"]
        assert [each.totals.requests for each in seen.processes] == [0, 1]
        assert (seen.activity.total.count, seen.models[0].activity.total.count) == (1, 1)
        assert not seen.unanswered
        [record] = (await east.ask.GetRequest(pb.GetRequestRequest(request_id="r1"))).records
        assert (record.gateway, record.state) == ("west", pb.REQUEST_STATE_DONE)
        listed = (await east.ask.ListRequests(pb.ListRequestsRequest())).requests
        assert [each.request_id for each in listed] == ["r1"]
        only_here = await east.ask.ListRequests(pb.ListRequestsRequest(only_here=True))
        assert not only_here.requests
        watch = east.ask.WatchMesh(pb.WatchMeshRequest())
        async with asyncio.timeout(PATIENCE_S):
            first = (await watch.read()).mesh
            assert [each.gateway for each in first.processes] == ["east", "west"]
            await west.chat("r2")
            while (await watch.read()).mesh.processes[1].totals.requests != 2:
                pass
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await east.ask.GetRequest(pb.GetRequestRequest(request_id="r3"))
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND
        assert "2 gateway processes, of east, west" in (failure.value.details() or "")


@pytest.mark.parametrize("ahead", [0.0, 10.0])
async def test_an_operator_reads_their_clocks(ahead: float) -> None:
    """As doctor does, by his own, which may be ahead: all that the registry knows, and one that is named."""
    async with mesh("east", "west") as ([east, _], registry):
        read = await read_clocks([registry], east.door, NOTHING, lambda: time.time() + ahead)
    assert [name.partition(" at ")[0] for name in sorted(read)] == ["east", "the gateway", "west"]
    assert all(each.least <= -ahead <= each.most for each in read.values())


@undisturbed(0.3)
async def test_a_gateway_that_hangs_is_named_and_holds_nobody_up() -> None:
    """Here it is only a socket that takes connections. One that has said that it ends is not asked."""
    hung = socket.create_server(("127.0.0.1", 0))
    async with mesh("east", "west") as ([east, west], registry):
        port = hung.getsockname()[1]
        async with open_channel(registry) as channel:
            stub = RegistryServiceStub(channel)
            known = (await stub.ListGateways(registry_pb2.ListGatewaysRequest())).gateways
            gone = registry_pb2.GatewayInstance(
                instance="x", name="south", address=f"127.0.0.1:{port}", machine=known[0].machine
            )
            await stub.AnnounceGateway(registry_pb2.AnnounceGatewayRequest(gateway=gone))
            far = registry_pb2.GatewayInstance(
                instance="y", name="north", address="127.0.0.1:9", machine="another"
            )
            await stub.AnnounceGateway(registry_pb2.AnnounceGatewayRequest(gateway=far))
        await west.chat("r1")
        await asyncio.sleep(0.3)  # who there is is asked at most four times a second
        async with within(2.5):
            seen = await east.seen()
        assert [each.gateway for each in seen.processes] == ["east", "west"]
        north, south = seen.unanswered
        assert (north.name, "only its own machine" in north.why) == ("north", True)
        assert (south.name, south.why) == ("south", "it did not answer within 1 s")
        found = await east.ask.GetRequest(pb.GetRequestRequest(request_id="r1"))
        assert (len(found.records), len(found.unanswered)) == (1, 2)
        west.stop.set()
        await west.serving
        await asyncio.sleep(0.3)
        seen = await east.seen()
        assert [each.gateway for each in seen.processes] == ["east"]
        assert {each.name for each in seen.unanswered} == {"north", "south"}
    hung.close()


async def test_gateways_show_each_other_the_meshs_secret() -> None:
    """A caller without it learns nothing where they ask each other."""
    async with mesh("east", "west", mesh_secret=SECRET) as ([east, _], registry):
        seen = await east.seen()
        assert [each.gateway for each in seen.processes] == ["east", "west"]
        async with open_channel(registry) as channel:
            stub = RegistryServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await stub.ListGateways(registry_pb2.ListGatewaysRequest())
            assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
            asked = stub.ListGateways(registry_pb2.ListGatewaysRequest(), metadata=SHOWN)
            address = (await asked).gateways[0].address
        async with open_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await GatewayServiceStub(channel).GetMesh(pb.GetMeshRequest())
            assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_operators_certificate_opens_where_gateways_ask_each_other(
    certificates: Certificates, tmp_path: Path
) -> None:
    """With keys and no secret: his commands find that address at the registry, also where his settings say
    where a gateway listens. At the gateways' own doors only a key does, and a worker's certificate opens
    neither."""
    keys = str(tmp_path / "keys.db")
    open_store(keys, create=True).close()
    tls = certificates.of("gateway")
    async with (
        running_registry(tls=certificates.of("registry"), registry_metrics_listen=None) as registry,
        gateway(registry, "east", tls=tls, keys=keys) as east,
        gateway(registry, "west", tls=tls, keys=keys),
    ):
        operator = ClientSettings(
            registry=registry, gateway_grpc_listen=str(east.door), tls=certificates.of("operator")
        )
        async with asyncio.timeout(PATIENCE_S):
            while (door := await door_of(operator, None)).of is None:
                pass  # each says that it is there as soon as it listens
            while True:
                async with calling("gateway", door.address, door.shown, door.of) as channel:
                    seen = (await GatewayServiceStub(channel).GetMesh(pb.GetMeshRequest())).mesh
                if len(seen.processes) == 2:
                    break
        assert [each.gateway for each in seen.processes] == ["east", "west"]
        named = ClientSettings(gateway=east.door, registry=registry, tls=certificates.of("operator"))
        door = await door_of(named, None)
        assert (door.address, door.of) == (east.door, None)
        with pytest.raises(RefusedError, match="key"):
            async with calling("gateway", door.address, door.shown) as channel:
                await GatewayServiceStub(channel).GetMesh(pb.GetMeshRequest())
