"""A worker and a registry that take calls of peers only."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom.v1 import registry_pb2, worker_pb2
from inferloom.v1.link_pb2 import LinkHello
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_cli.calls import opened
from inferloom_cli.credentials import of_peer
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.grpc_link import GrpcLink
from inferloom_mesh import watched
from inferloom_mesh.channel import open_channel
from inferloom_mesh.context import KEY, CallContext, read_context
from inferloom_mesh.errors import Reason
from inferloom_mesh.guard import PeersOnly
from inferloom_mesh.roles import Role
from inferloom_mesh.secret import LEAST, MeshSecret
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.server import build_server
from inferloom_mesh.settings import ServiceSettings
from inferloom_worker.joining.lease import LeaseKeeper, RegistrationRefusedError
from tests.patience import until_async
from tests.registry.running import running_registry
from tests.wire.fake_worker import ANYWHERE
from tests.wire.running_worker import RunningWorker, error_of, running_worker, text_request
from tests.wire.test_tls import running_gateway

SECRET = "a secret of this mesh"
PEER = MeshSecret(SECRET).metadata
STRANGER = MeshSecret("another secret, as long").metadata
NEXT = "the secret that comes next"
NEXT_PEER = MeshSecret(NEXT).metadata


@pytest.fixture
async def worker() -> AsyncIterator[RunningWorker]:
    """A worker of a mesh with a secret."""
    async with running_worker("echo=echo", mesh_secret=SECRET) as worker:
        yield worker


async def refusal(call: Any) -> Reason:
    """Why a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    return error_of(caught.value).reason


@pytest.mark.parametrize("shown", [(), STRANGER, ((PEER[0][0], ""),), ((PEER[0][0], SECRET),)])
async def test_a_worker_takes_no_call_of_others(worker: RunningWorker, shown: Any) -> None:
    """Neither requests nor control, whatever they say of tenants; the secret itself is not what is shown."""
    context = CallContext("r", tenant="acme", priority_cap=100).metadata(0.0)
    request = text_request()
    for call in (
        worker.stub.Generate(request, metadata=(*context, *shown)),
        worker.control.GetStatus(worker_pb2.GetStatusRequest(), metadata=shown),
        worker.control.Drain(worker_pb2.DrainRequest(), metadata=shown),
    ):
        assert await refusal(call) is Reason.NOT_A_PEER


async def test_a_peer_is_taken_and_health_is_for_everybody(worker: RunningWorker) -> None:
    """Who shows the secret is answered, and who only wants to know whether it serves."""
    events = [event async for event in worker.stub.Generate(text_request(), metadata=PEER)]
    assert events[-1].HasField("completed")
    health: Any = health_pb2_grpc.HealthStub(worker.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_registry_takes_workers_of_its_mesh_only() -> None:
    """One without the secret is told so, and does not try for ever."""
    async with running_registry(mesh_secret=SECRET) as address, open_channel(address) as channel:
        stub: Any = RegistryServiceStub(channel)
        listing = stub.ListWorkers
        assert await refusal(stub.KeepAlive()) is Reason.NOT_A_PEER  # before it has said anything
        assert await refusal(stub.Watch(registry_pb2.WatchRequest())) is Reason.NOT_A_PEER
        assert await refusal(listing(registry_pb2.ListWorkersRequest())) is Reason.NOT_A_PEER

        def described() -> registry_pb2.Worker:
            return registry_pb2.Worker(
                id="w", address="127.0.0.1:7100", state=registry_pb2.WORKER_STATE_READY
            )

        for security in (OPEN, Security(MeshSecret("another secret, as long"))):
            keeper = LeaseKeeper([address], described, registry_pb2.Load, security=security)
            with pytest.raises(RegistrationRefusedError, match=r"own services only.*INFERLOOM_MESH_SECRET"):
                await keeper.run()
        async with running_worker("echo=echo", registry=str(address), mesh_secret=SECRET):
            answer = await listing(registry_pb2.ListWorkersRequest(), metadata=PEER)
            while not answer.workers:
                answer = await listing(registry_pb2.ListWorkersRequest(), metadata=PEER)


async def test_what_is_refused_is_not_read() -> None:
    """A request of a stranger is not even decoded."""
    read: list[bytes] = []

    def deserialize(data: bytes) -> bytes:
        read.append(data)
        return data

    async def answer(request: bytes, context: Any) -> bytes:
        return request

    make: Any = grpc.unary_unary_rpc_method_handler  # its stub knows synchronous servers only
    handlers = {"Z": make(answer, request_deserializer=deserialize)}
    server = build_server([], guard=PeersOnly(MeshSecret(SECRET)))
    server.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("x.Y", handlers),))
    address = await server.listen(ANYWHERE)
    try:
        async with open_channel(address) as channel:
            call: Any = channel.unary_unary("/x.Y/Z")
            assert await refusal(call(b"secret")) is Reason.NOT_A_PEER
            assert read == []
            assert await call(b"mine", metadata=PEER) == b"mine"
    finally:
        await server.stop(0)


def test_a_secret_has_a_least_length_and_may_be_in_a_file(tmp_path: Any) -> None:
    """What shows it is not the secret, and does not depend on the white space of a file."""
    with pytest.raises(ValueError, match=str(LEAST)):
        MeshSecret("short")
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    of_file = ServiceSettings(mesh_secret_file=file).peer_secret()
    assert of_file is not None
    assert of_file.metadata == PEER
    assert SECRET not in str(PEER)
    assert SECRET not in repr(ServiceSettings(mesh_secret=SECRET))
    assert ServiceSettings().peer_secret() is None
    lines = f"{SECRET}\n{NEXT}"
    of_lines = ServiceSettings(mesh_secret=f" {lines}\n").peer_secret()
    assert of_lines is not None
    assert of_lines.shown_by(MeshSecret(lines).metadata)  # the setting is one secret, whatever lines it has
    assert not of_lines.shown_by(PEER)
    with pytest.raises(OSError, match="No such file"):
        ServiceSettings(mesh_secret_file=tmp_path / "none").peer_secret()


def test_while_a_secret_is_replaced_both_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a file is shown, and what is shown and taken is what the file holds then."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    secret = ServiceSettings(mesh_secret_file=file).peer_secret()
    assert secret is not None
    for content, shown, taken in (
        (f"{SECRET}\n\n {NEXT} \n", PEER, (PEER, NEXT_PEER)),
        (f"{NEXT}\n{SECRET}", NEXT_PEER, (PEER, NEXT_PEER)),
        (f"{NEXT}\nshort", NEXT_PEER, (PEER, NEXT_PEER)),  # which is not used
        (NEXT, NEXT_PEER, (NEXT_PEER,)),
        ("", NEXT_PEER, (NEXT_PEER,)),
    ):
        file.write_text(content)
        assert secret.metadata == shown
        assert [secret.shown_by(each) for each in (PEER, NEXT_PEER, STRANGER)] == [
            each in taken for each in (PEER, NEXT_PEER, STRANGER)
        ]
    file.write_bytes(b"\xff" * LEAST)
    assert secret.metadata == NEXT_PEER
    for content, fault in ((f"{NEXT}\n\nshort\n", "line 3: each line is a secret"), ("\n", str(LEAST))):
        file.write_text(content)
        with pytest.raises(OSError, match=fault):
            ServiceSettings(mesh_secret_file=file).peer_secret()
    file.write_bytes(b"\xff" * LEAST)
    with pytest.raises(OSError, match=r"secret: is no text"):
        ServiceSettings(mesh_secret_file=file).peer_secret()


@pytest.mark.parametrize("link", ["attach", "call"])
async def test_a_secret_is_replaced_part_by_part_while_requests_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """In three steps, in each of which the parts may come in any order; each begins everything anew, as what
    was begun before goes on. In the end the old secret opens nothing."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    files = {part: tmp_path / part for part in ("registry", "worker", "gateway")}
    for file in files.values():
        file.write_text(SECRET)
    chat = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}

    async def answered() -> None:
        """A worker that comes now and a gateway that comes now work together."""
        async with (
            running_worker("echo=echo", registry=str(registry), mesh_secret_file=files["worker"]),
            running_gateway(registry=registry, mesh_secret_file=files["gateway"], link=link) as (rest, _),
            httpx.AsyncClient(base_url=f"http://{rest}") as http,
        ):

            async def status() -> int:
                return (await http.post("/v1/chat/completions", json=chat)).status_code

            await until_async(status, "an answer", lambda code: code == 200)
            assert (await http.post("/v1/chat/completions", json=chat)).status_code == 200

    async with (
        running_registry(mesh_secret_file=files["registry"], settle_s=0.1) as registry,
        open_channel(registry) as channel,
    ):
        listing: Any = RegistryServiceStub(channel).ListWorkers
        orders = (("worker", "registry", "gateway"), ("gateway", "worker", "registry"), tuple(files))
        for content, order in zip((f"{SECRET}\n{NEXT}", f"{NEXT}\n{SECRET}", NEXT), orders, strict=True):
            for part in order:
                files[part].write_text(content)
                await answered()
        assert await refusal(listing(registry_pb2.ListWorkersRequest(), metadata=PEER)) is Reason.NOT_A_PEER
        await listing(registry_pb2.ListWorkersRequest(), metadata=NEXT_PEER)


async def test_connections_to_workers_begin_with_the_secret_of_their_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines live as long as their worker, and connect again when it restarts."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    security = ServiceSettings(mesh_secret_file=file).security(Role.GATEWAY)
    line, dialer = GrpcLink("127.0.0.1:1", security=security), Dialer(security)
    before = line.peer, dialer.hello
    file.write_text(NEXT)
    assert line.peer == NEXT_PEER
    assert LinkHello.FromString(dialer.hello).mesh_secret == NEXT_PEER[0][1]
    assert before == (PEER, LinkHello(mesh_secret=PEER[0][1]).SerializeToString())
    await line.close(None)


async def test_a_command_that_runs_on_shows_the_secret_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a channel that it opened before, with calls of either kind."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    shown = of_peer(ServiceSettings(mesh_secret_file=file))
    async with (
        running_registry(mesh_secret_file=file, settle_s=0.1) as registry,
        opened("registry", registry, shown) as channel,
    ):
        stub: Any = RegistryServiceStub(channel)
        for secret in (SECRET, NEXT):
            file.write_text(secret)
            await stub.ListWorkers(registry_pb2.ListWorkersRequest())
            await stub.Watch(registry_pb2.WatchRequest()).read()


def test_a_context_says_whose_cached_state_is_met() -> None:
    """A tenant that a gateway names divides the cache; a connection that is counted as one does not."""

    class Call:
        def __init__(self, *metadata: tuple[str, bytes]) -> None:
            self._metadata = metadata

        def invocation_metadata(self) -> Any:
            return self._metadata

        def time_remaining(self) -> None:
            return None

        def peer(self) -> str:
            return "ipv4:1.2.3.4:5"

    sent = CallContext("r", tenant="acme", share=2.5).metadata(0.0)
    assert sent[0][0] == KEY
    named: Any = Call(*sent)
    context = read_context(named)
    assert (context.tenant, context.cache_scope, context.share) == ("acme", "acme", 2.5)
    unnamed: Any = Call()
    context = read_context(unnamed)
    assert (context.tenant, context.cache_scope, context.share) == ("ipv4:1.2.3.4:5", "", 1.0)
