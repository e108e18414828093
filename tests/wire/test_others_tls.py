"""TLS with services that are not of the mesh: files that are replaced are used without a restart."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferloom.etcd import etcd_pb2 as etcd
from inferloom_mesh import watched
from inferloom_mesh.net import Address
from inferloom_mesh.otlp_sending import HttpWay, SendingError, Way, way_to
from inferloom_mesh.otlp_target import GRPC, HTTP, Target
from inferloom_mesh.tls_files import TlsFiles
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.faults import EtcdError
from inferloom_registry.etcd.methods import RANGE
from inferloom_registry.settings import RegistrySettings
from tests.patience import PATIENCE_S, until_async
from tests.wire.certificates import Certificates
from tests.wire.ports import free_port

FILES = ("ca.crt", "tls.crt", "tls.key")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "LOOK_S", 0.0)


class Mine:
    """A folder with what is shown, of one authority and then of another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mine"
        self.folder.mkdir()
        self.authorities = [Certificates(folder / name) for name in ("one", "two")]

    def take(self, of: Certificates) -> None:
        """Put what is of an authority into the folder."""
        for name in FILES:
            (self.folder / name).write_bytes((of.of("registry") / name).read_bytes())


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    made = Mine(tmp_path)
    made.take(made.authorities[0])
    return made


@asynccontextmanager
async def grpc_server(of: Certificates, port: int, method: str) -> AsyncIterator[None]:
    """One that asks for certificates of an authority, and answers a method with nothing."""

    async def answer(request: bytes, context: Any) -> bytes:
        return b""

    make: Any = grpc.unary_unary_rpc_method_handler  # its stub knows synchronous servers only
    service, _, name = method.removeprefix("/").partition("/")
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: make(answer)}),))
    shown = TlsFiles(of.of("gateway")).current()
    pairs = [(shown.key, shown.certificate)]
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials(pairs, of.authority.pem, True))
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


async def test_etcd_is_shown_and_known_by_the_files_as_they_are(mine: Mine) -> None:
    """A certificate that ended, or etcd's other authority, would otherwise freeze every registry until it is
    started again."""
    port = free_port()
    settings = RegistrySettings(
        etcd_ca_file=mine.folder / "ca.crt",
        etcd_certificate_file=mine.folder / "tls.crt",
        etcd_key_file=mine.folder / "tls.key",
    )
    client = EtcdClient([Address("127.0.0.1", port)], settings.etcd_access())
    asked = etcd.RangeRequest(key=b"k")
    one, two = mine.authorities
    async with grpc_server(one, port, RANGE.path):
        await client.call(RANGE, asked, timeout=PATIENCE_S)
    async with grpc_server(two, port, RANGE.path):
        with pytest.raises(EtcdError):
            await client.call(RANGE, asked)
        mine.take(two)

        async def answered() -> bool:
            try:
                await client.call(RANGE, asked)
            except EtcdError:
                return False
            return True

        await until_async(answered, "an answer")
    await client.close()


def test_a_password_in_a_file_is_the_one_of_now(tmp_path: Path) -> None:
    """One that is empty, as while it is written, is not used."""
    file = tmp_path / "password"
    file.write_text("one\n")
    login = RegistrySettings(etcd_user="mesh", etcd_password_file=file).etcd_access().login
    assert login is not None
    assert login().password == "one"
    file.write_text("")
    assert login().password == "one"
    file.write_text("two\n")
    assert login().password == "two"
    assert "two" not in repr(login())


@asynccontextmanager
async def http_server(of: Certificates, port: int) -> AsyncIterator[None]:
    """One that asks for certificates of an authority, and answers each connection with 200."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = of.of("gateway")
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.load_verify_locations(of.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port, ssl=context):
        yield


@pytest.mark.parametrize("protocol", [GRPC, HTTP])
async def test_traces_go_on_when_their_certificates_are_replaced(mine: Mine, protocol: str) -> None:
    """By both protocols."""
    port = free_port()
    url = f"127.0.0.1:{port}" if protocol == GRPC else f"https://localhost:{port}/v1/traces"
    pair = mine.folder / "tls.crt", mine.folder / "tls.key"
    way: Way = way_to(Target(protocol, url, "it", (), True, mine.folder / "ca.crt", pair))
    assert isinstance(way, HttpWay) is (protocol == HTTP)

    def server(of: Certificates) -> Any:
        method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        return grpc_server(of, port, method) if protocol == GRPC else http_server(of, port)

    async def sent() -> bool:
        try:
            await way.send(b"", 5.0)
        except SendingError:
            return False
        return True

    one, two = mine.authorities
    async with server(one):
        await until_async(sent, "spans")
    async with server(two):
        assert not await sent()
        mine.take(two)
        await until_async(sent, "spans again")
    await way.close()
