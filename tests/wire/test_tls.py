"""Services that know each other by their certificates, and doors that speak TLS."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from inferloom.v1 import inference_pb2, registry_pb2, worker_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_gateway.service import serve
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh import watched
from inferloom_mesh.channel import open_channel
from inferloom_mesh.context import CallContext, read_context
from inferloom_mesh.errors import Reason
from inferloom_mesh.identity import PeerIdentity, only_one
from inferloom_mesh.net import Address
from inferloom_mesh.roles import GRANTS, Role, may_call
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.security import Security
from inferloom_mesh.server import build_server
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import TlsError
from inferloom_worker.joining.lease import LeaseKeeper, RegistrationRefusedError
from tests.patience import PATIENCE_S
from tests.registry.running import running_registry
from tests.wire.certificates import Certificates, certificates
from tests.wire.running_worker import error_of, limited, running_worker, text_request

__all__ = ["certificates"]


@dataclass
class TlsMesh:
    """A mesh with certificates."""

    registry: Address
    worker: Address
    rest: Address
    grpc: Address


@asynccontextmanager
async def tls_mesh(certificates: Certificates, **gateway: Any) -> AsyncIterator[TlsMesh]:
    """A registry, a worker and a gateway, each with its certificate."""
    async with running_registry(tls=certificates.of("registry"), settle_s=0.1) as registry:
        worker = certificates.of("worker", "w1")
        async with (
            running_worker("echo=echo", registry=str(registry), tls=worker, worker_id="w1") as running,
            running_gateway(registry=registry, **{"tls": certificates.of("gateway"), **gateway}) as (
                rest,
                at,
            ),
        ):
            yield TlsMesh(registry, running.address, rest, at)


@asynccontextmanager
async def running_gateway(**settings: Any) -> AsyncIterator[tuple[Address, Address]]:
    """A gateway; gives where REST and gRPC are."""
    stop = asyncio.Event()
    listening: asyncio.Future[tuple[Address, Address]] = asyncio.get_running_loop().create_future()
    anywhere = Address("127.0.0.1", 0)
    told = GatewaySettings(
        gateway_listen=anywhere, gateway_grpc_listen=anywhere, drain_limit_s=0, no_store=True, **settings
    )
    serving = asyncio.create_task(serve(told, stop, lambda *found: listening.set_result(found)))
    try:
        either: set[asyncio.Future[Any]] = {serving, listening}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield listening.result()
    finally:
        stop.set()
        with suppress(OSError):
            await serving


def trusting(certificates: Certificates, *mine: Path) -> ssl.SSLContext:
    """What an HTTP client checks with, and shows."""
    context = ssl.create_default_context(cafile=certificates.ca)
    for folder in mine:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


async def test_a_mesh_with_certificates_answers_at_both_doors(certificates: Certificates) -> None:
    """Everything between its parts, and with its callers, is over TLS; what comes without it is not
    answered."""
    async with tls_mesh(certificates) as mesh:
        body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        url = f"https://{mesh.rest}/v1/chat/completions"
        async with httpx.AsyncClient(verify=trusting(certificates)) as http:
            while (answer := await http.post(url, json=body)).status_code == 503:
                pass  # the worker registers meanwhile
            assert answer.status_code == 200
            assert answer.json()["choices"][0]["message"]["content"]
            with pytest.raises(httpx.HTTPError):
                await http.post(url.replace("https", "http"), json=body)
        async with httpx.AsyncClient() as stranger:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await stranger.post(url, json=body)
        roots = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        async with grpc.aio.secure_channel(str(mesh.grpc), roots) as channel:
            stub: Any = InferenceServiceStub(channel)
            events = [event async for event in stub.Generate(text_request("hello"))]
            assert events[-1].HasField("completed")
        async with grpc.aio.insecure_channel(str(mesh.grpc)) as channel:
            stub = InferenceServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=PATIENCE_S)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def denied(call: Any) -> Reason:
    """Why a call is not permitted."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    return error_of(caught.value).reason


async def test_each_role_may_do_its_own(certificates: Certificates) -> None:
    """A worker cannot call a worker, a gateway cannot stop one, and nobody registers but workers; the table
    says so, whatever secret is shown besides."""
    async with (
        running_registry(tls=certificates.of("registry"), mesh_secret="a secret of this mesh") as registry,
        running_worker("echo=echo", tls=certificates.of("worker", "w1")) as worker,
    ):
        drain, status = worker_pb2.DrainRequest(), worker_pb2.GetStatusRequest()
        listing = registry_pb2.ListWorkersRequest()
        for role in Role:
            security = certificates.security(role, "w2" if role is Role.WORKER else "")
            async with (
                open_channel(worker.address, security=security, of=Role.WORKER) as to_worker,
                open_channel(registry, security=security, of=Role.REGISTRY) as to_registry,
            ):
                control: Any = WorkerServiceStub(to_worker)
                leases: Any = RegistryServiceStub(to_registry)
                inference: Any = InferenceServiceStub(to_worker)
                shown = MeshSecret("a secret of this mesh").metadata
                calls: dict[str, Any] = {
                    "/inferloom.v1.WorkerService/GetStatus": partial(control.GetStatus, status),
                    "/inferloom.v1.RegistryService/ListWorkers": partial(
                        leases.ListWorkers, listing, metadata=shown
                    ),
                    "/inferloom.v1.InferenceService/ListModels": partial(
                        inference.ListModels, inference_pb2.ListModelsRequest()
                    ),
                }
                for method, call in calls.items():
                    if may_call(role, method):
                        await call()
                    else:
                        assert await denied(call()) is Reason.PERMISSION_DENIED, (role, method)
                if role is not Role.OPERATOR:
                    assert await denied(control.Drain(drain)) is Reason.PERMISSION_DENIED
                if role is not Role.WORKER:
                    assert await denied(leases.Register(registry_pb2.RegisterRequest())) is (
                        Reason.PERMISSION_DENIED
                    )


async def test_a_worker_registers_under_its_own_name_only(certificates: Certificates) -> None:
    """Its certificate says which that is; a lease of another cannot be given back either."""

    def described(name: str) -> registry_pb2.Worker:
        return registry_pb2.Worker(
            id=name, address="127.0.0.1:7100", state=registry_pb2.WORKER_STATE_READY, capacity=1
        )

    async with running_registry(tls=certificates.of("registry")) as registry:
        w1, w2 = certificates.security("worker", "w1"), certificates.security("worker", "w2")
        keeper = LeaseKeeper([registry], lambda: described("w1"), registry_pb2.Load, security=w2)
        with pytest.raises(RegistrationRefusedError, match="certificate is that of worker/w2"):
            await keeper.run()
        async with (
            open_channel(registry, security=w1, of=Role.REGISTRY) as own,
            open_channel(registry, security=w2, of=Role.REGISTRY) as other,
        ):
            mine: Any = RegistryServiceStub(own)
            theirs: Any = RegistryServiceStub(other)
            lease = await mine.Register(registry_pb2.RegisterRequest(worker=described("w1")))
            given = registry_pb2.DeregisterRequest(lease_id=lease.lease_id, epoch=lease.epoch)
            assert await denied(theirs.Deregister(given)) is Reason.PERMISSION_DENIED
            call = theirs.KeepAlive()
            await call.write(registry_pb2.KeepAliveRequest(lease_id=lease.lease_id, epoch=lease.epoch))
            assert await denied(call) is Reason.PERMISSION_DENIED
            await mine.Deregister(given)


async def test_only_a_gateway_is_believed_about_tenants(certificates: Certificates) -> None:
    """What an operator's call says of a tenant is not read: it counts for its connection."""
    shown = CallContext("r", tenant="acme", priority_cap=100).metadata(0.0)

    async def answer(request: bytes, context: Any) -> bytes:
        read = read_context(context)
        return f"{read.tenant} {read.priority_cap}".encode()

    make: Any = grpc.unary_unary_rpc_method_handler  # its stub knows synchronous servers only
    security = certificates.security("worker", "w1")
    server = build_server([], guard=security.guard, tls=security.inside())
    handlers = grpc.method_handlers_generic_handler(
        "inferloom.v1.InferenceService", {"Rerank": make(answer, request_deserializer=bytes)}
    )
    server.grpc.add_generic_rpc_handlers((handlers,))
    address = await server.listen(Address("127.0.0.1", 0))
    heard: dict[str, bytes] = {}
    for role in ("gateway", "operator"):
        async with open_channel(address, security=certificates.security(role), of=Role.WORKER) as channel:
            call: Any = channel.unary_unary("/inferloom.v1.InferenceService/Rerank")
            heard[role] = await call(b"", metadata=shown)
    await server.stop(0)
    assert heard["gateway"] == b"acme 100"
    assert heard["operator"].startswith(b"ipv4:127.0.0.1:")
    assert heard["operator"].endswith(b" None")


async def test_certificates_that_are_replaced_are_used_by_new_connections(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the doors, between the parts, and without a restart: a call that runs goes on meanwhile."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    folder = certificates.of("gateway", "renewed")

    async def serial(address: Address) -> int:
        _, writer = await asyncio.open_connection(
            *address, ssl=trusting(certificates), server_hostname="localhost"
        )
        held = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
        writer.close()
        return int(held, 16)

    async with tls_mesh(certificates, tls=folder) as mesh:
        before = await serial(mesh.rest), await serial(mesh.grpc)
        assert before[0] == before[1]
        certificates.renew(folder, "gateway", "renewed")
        after = await serial(mesh.rest), await serial(mesh.grpc)
        assert after[0] == after[1] != before[0]
        # What is not good is not used.
        (folder / "tls.key").write_text("no key")
        assert (await serial(mesh.rest), await serial(mesh.grpc)) == after


async def test_a_client_shows_its_replaced_certificate_on_a_new_connection(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that run end where they began; the next one shows the new certificate."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    folder = certificates.of("operator", "changing")
    security = Security(tls=TlsFiles(folder, Role.OPERATOR))
    channel: Any
    async with (
        running_worker("echo=echo:delay_ms=20", tls=certificates.of("worker", "w1")) as worker,
        open_channel(worker.address, security=security, of=Role.WORKER) as channel,
    ):
        inference: Any = InferenceServiceStub(channel)
        control: Any = WorkerServiceStub(channel)
        status = worker_pb2.GetStatusRequest()
        stream = inference.Generate(text_request("one two three four", **limited(16)))
        await stream.read()
        first = channel.now()
        certificates.renew(folder, "gateway", "changing")  # which is no operator's: not used
        await control.GetStatus(status)
        assert channel.now() is first
        certificates.renew(folder, "operator", "changing")
        await control.GetStatus(status)
        assert channel.now() is not first
        last = None
        while (event := await stream.read()) is not grpc.aio.EOF:
            last = event
        assert last is not None
        assert last.HasField("completed")


def test_what_is_wrong_with_a_certificate_is_said_with_its_file(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Each fault names the file, and what is wrong with it."""

    def fault(role: Role | None = Role.WORKER) -> str:
        with pytest.raises(TlsError) as caught:
            TlsFiles(tmp_path, role)
        return str(caught.value)

    def fresh(name: str = "w1", role: str = "worker", **how: Any) -> None:
        shutil.rmtree(tmp_path)
        certificates.authority.issue(tmp_path, PeerIdentity(Role(role), name), **how)

    assert fault() == f"{tmp_path / 'tls.crt'}: there is no such file"
    fresh(life=timedelta(minutes=-1))
    assert f"{tmp_path / 'tls.crt'}: the certificate expired at 20" in fault()
    fresh(role="gateway")
    assert "the certificate names the role gateway, and this is a worker" in fault()
    fresh()
    (tmp_path / "ca.crt").unlink()
    assert fault() == f"{tmp_path / 'ca.crt'}: there is no such file"
    assert TlsFiles(tmp_path).current().authorities is None  # a public door
    other = Certificates(tmp_path / "other")
    shutil.copy(other.ca, tmp_path / "ca.crt")
    assert f"is from none of the authorities in {tmp_path / 'ca.crt'}" in fault()
    shutil.copy(other.of("worker", "w1") / "tls.key", tmp_path / "tls.key")
    assert f"{tmp_path / 'tls.key'}: the key is not that of the certificate" in fault()
    (tmp_path / "tls.key").write_text("nothing")
    assert "holds no private key in PEM" in fault()
    (tmp_path / "tls.crt").write_text("nothing")
    assert "holds no certificate in PEM" in fault()


async def test_a_service_with_a_wrong_certificate_never_listens(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Each of the three says so when it starts."""
    ended = tmp_path / "ended"
    certificates.authority.issue(ended, PeerIdentity(Role.WORKER, "w9"), life=timedelta(minutes=-1))
    with pytest.raises(TlsError, match="expired"):
        async with running_worker("echo=echo", tls=ended):
            pass
    with pytest.raises(TlsError, match="names the role operator, and this is a registry"):
        async with running_registry(tls=certificates.of("operator")):
            pass
    with pytest.raises(TlsError, match="no such file"):
        async with running_gateway(tls=tmp_path / "none"):
            pass


async def test_a_door_may_ask_callers_for_certificates(certificates: Certificates) -> None:
    """Of an authority that the setting names; without one there is no connection."""
    async with tls_mesh(certificates, gateway_client_ca=certificates.ca) as mesh:
        url = f"https://{mesh.rest}/health/live"
        async with httpx.AsyncClient(verify=trusting(certificates, certificates.of("operator"))) as http:
            assert (await http.get(url)).status_code == 200
        async with httpx.AsyncClient(verify=trusting(certificates)) as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(url)


async def test_a_door_forgets_an_authority_that_is_replaced(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is how certificates are revoked: those of the old one are not taken any more, at either door, nor
    is a session that one of them began; those of the new one are."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    callers, others = Certificates(tmp_path / "callers"), Certificates(tmp_path / "others")
    revoked, good = callers.of("operator"), others.of("operator")
    asked = tmp_path / "clients.crt"
    asked.write_bytes(callers.ca.read_bytes())
    async with tls_mesh(certificates, gateway_client_ca=asked) as mesh:

        async def answered(folder: Path) -> tuple[bool, bool]:
            http = await met(mesh.rest, trusting(certificates, folder))
            credentials = grpc.ssl_channel_credentials(
                certificates.ca.read_bytes(),
                *((folder / name).read_bytes() for name in ("tls.key", "tls.crt")),
            )
            async with grpc.aio.secure_channel(str(mesh.grpc), credentials) as channel:
                stub: Any = InferenceServiceStub(channel)
                try:
                    await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=PATIENCE_S)
                except grpc.aio.AioRpcError:
                    return http, False
            return http, True

        assert await answered(revoked) == (True, True)
        assert await answered(good) == (False, False)
        older = trusting(certificates, revoked)
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        newer = trusting(certificates, revoked)
        sessions = [
            (context, await asyncio.to_thread(session_of, mesh.rest, context)) for context in (older, newer)
        ]
        asked.write_bytes(others.ca.read_bytes())
        assert await answered(revoked) == (False, False)
        assert await answered(good) == (True, True)
        for context, session in sessions:
            assert session is not None
            with pytest.raises(NoAnswerError):
                await asyncio.to_thread(session_of, mesh.rest, context, session)


async def met(address: Address, context: ssl.SSLContext) -> bool:
    """Whether a door answers who does TLS like this."""
    async with httpx.AsyncClient(verify=context) as http:
        try:
            return (await http.get(f"https://{address}/health/live")).status_code == 200
        except httpx.HTTPError:
            return False


class NoAnswerError(Exception):
    """The connection ended, sooner or later."""


def session_of(
    address: Address, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """Ask for something, going on with a session, and return that of the connection.

    Raises:
        NoAnswerError: There was no answer.
    """
    try:
        with (
            socket.create_connection(address, PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as encrypted,
        ):
            encrypted.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            if encrypted.recv(4096).startswith(b"HTTP/1.1 200 "):
                return encrypted.session
    except OSError as failure:
        raise NoAnswerError from failure
    raise NoAnswerError


def test_an_identity_is_one_uri_of_ours() -> None:
    """Two of them are none, and so is a name with other characters."""
    assert only_one(["inferloom://role/worker/w1"]) == PeerIdentity(Role.WORKER, "w1")
    for uris in (
        ["inferloom://role/worker/w1", "inferloom://role/gateway/g"],
        ["inferloom://role/king/w1"],
        ["inferloom://role/worker/../w1"],
        ["spiffe://role/worker/w1"],
        [],
    ):
        assert only_one(uris) is None


def test_the_table_knows_every_method_of_the_services_inside() -> None:
    """A method that nobody put into it could be called by nobody; one that is not there any more is an
    error."""
    from inferloom.v1 import gateway_pb2, link_pb2

    services = [
        *registry_pb2.DESCRIPTOR.services_by_name.values(),
        *worker_pb2.DESCRIPTOR.services_by_name.values(),
        *inference_pb2.DESCRIPTOR.services_by_name.values(),
        *link_pb2.DESCRIPTOR.services_by_name.values(),
        *gateway_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    assert {f"/{each.full_name}/{method.name}" for each in services for method in each.methods} == set(GRANTS)
