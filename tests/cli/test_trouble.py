"""What a command says of a call that failed: what is there in the place of an answer, and what to do."""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest

from inferloom.v1.registry_pb2 import ListWorkersRequest
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub, add_RegistryServiceServicer_to_server
from inferloom_cli import bench
from inferloom_cli.benchmark.load import Load
from inferloom_cli.calls import opened
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.trouble import Trouble, trouble_of
from inferloom_mesh.net import Address
from inferloom_mesh.security import Security
from inferloom_mesh.server import build_server
from inferloom_mesh.tls_files import TlsFiles
from tests.cli.fake_mesh import FakeMesh, FakeRegistry
from tests.patience import PATIENCE_S
from tests.wire.certificates import Certificates, certificates

__all__ = ["certificates"]

NOBODY = Address("127.0.0.1", 1)


async def trouble(address: Address, service: str = "registry", shown: Credentials = NOTHING) -> Trouble:
    """What is said of a call that must fail."""
    async with opened(service, address, shown) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await RegistryServiceStub(channel).ListWorkers(ListWorkersRequest(), timeout=PATIENCE_S)
    return trouble_of(failed.value, service, address, shown)


def operator(made: Certificates) -> Credentials:
    """What an operator shows."""
    return Credentials(security=Security(tls=TlsFiles(made.of("operator"))))


@pytest.fixture
async def registry(certificates: Certificates) -> AsyncIterator[Address]:
    """A registry that speaks TLS."""
    server = build_server(["inferloom.v1.RegistryService"], tls=certificates.security("registry").inside())
    add_RegistryServiceServicer_to_server(FakeRegistry(), server.grpc)
    yield await server.listen(Address("127.0.0.1", 0))
    await server.stop(0)


@pytest.fixture
def dumb() -> Iterator[Address]:
    """Something that takes connections, and ends them without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def close_all() -> None:
        with suppress(OSError):
            while True:
                listener.accept()[0].close()

    thread = Thread(target=close_all, daemon=True)
    thread.start()
    yield Address("127.0.0.1", listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)
    listener.close()


@pytest.mark.parametrize("service", ["gateway", "registry"])
async def test_where_nothing_listens_another_can_be_named(service: str) -> None:
    """By the service's own flag and variable."""
    told = await trouble(NOBODY, service)
    assert told.absent
    assert f"no {service} at 127.0.0.1:1 – name another with --{service}" in str(told)


async def test_a_worker_that_is_gone_is_named_by_no_flag() -> None:
    """No command has one, and a variable of that name would be refused."""
    told = await trouble(NOBODY, "worker")
    assert (told.what, told.absent) == ("no worker at 127.0.0.1:1", True)
    assert "--worker" not in told.mend
    assert "INFERLOOM_WORKER" not in told.mend


async def test_who_shows_no_certificate_to_one_that_asks_is_told(registry: Address) -> None:
    """It is there, and speaks TLS."""
    told = await trouble(registry)
    assert told.what == f"the registry at {registry} speaks TLS"
    assert "INFERLOOM_TLS" in told.mend
    assert not told.absent


async def test_another_authoritys_certificate_is_named(registry: Address, tmp_path: Path) -> None:
    """By its folder."""
    shown = operator(Certificates(tmp_path))
    told = await trouble(registry, shown=shown)
    assert told.what.startswith(f"the registry at {registry} and the certificate in {tmp_path}/")
    assert "one authority" in told.mend


async def test_a_certificate_is_shown_to_one_that_speaks_no_tls(
    certificates: Certificates, mesh: FakeMesh
) -> None:
    """The command is set for another mesh."""
    told = await trouble(mesh.address, shown=operator(certificates))
    assert told.what == f"{mesh.address} does not speak TLS, which INFERLOOM_TLS asks for"


async def test_what_ends_connections_is_not_called_absent(dumb: Address) -> None:
    """It may be a service that is ill."""
    told = await trouble(dumb)
    assert told.what.startswith(f"what listens at {dumb} does not answer as a registry")
    assert not told.absent


@pytest.fixture
def https(certificates: Certificates) -> Iterator[Address]:
    """An HTTPS server of the mesh's authority that has nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    folder = certificates.of("gateway")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Address("127.0.0.1", server.server_address[1])
    server.shutdown()
    server.server_close()


async def test_the_rest_port_of_one_that_speaks_tls_is_told(
    certificates: Certificates, https: Address
) -> None:
    """It is no gRPC port."""
    told = await trouble(https, "gateway", operator(certificates))
    assert str(told) == f"{https} speaks HTTPS, not gRPC – name the gateway's gRPC port with --gateway"


def test_a_server_whose_authority_nobody_trusts_is_told(
    certificates: Certificates, tmp_path: Path, https: Address
) -> None:
    """By `inferloom bench`, with the flag that names it; with that it is measured."""
    url, output = f"https://{https}/v1", bench.Output()
    with pytest.raises(RefusedError, match=r"is not trusted: .* --cacert FILE"):
        bench.bench(url, None, None, None, Load("", requests=1), [1], output)
    with pytest.raises(RefusedError, match="status 404"):
        bench.bench(url, None, certificates.ca, None, Load("", requests=1), [1], output)
    (tmp_path / "none").write_text("none")
    with pytest.raises(RefusedError, match="holds no certificates"):
        bench.bench(url, None, tmp_path / "none", None, Load("", requests=1), [1], output)
