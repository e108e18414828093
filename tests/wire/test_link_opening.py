"""Who may open the link's own port, and what is asked of those who try."""

import asyncio
import logging
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import uvloop

from inferloom.v1 import link_pb2, worker_pb2
from inferloom_gateway.calls.attach import dialer
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_mesh.client_tls import ClientTls
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role, may_call
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.tls_files import TlsFiles
from inferloom_worker.rpc.attach import handshakes, link_port
from tests.patience import PATIENCE_S, until_async, within
from tests.wire.attached import attached
from tests.wire.certificates import Certificates, certificates
from tests.wire.gateway_line import by_operator, line_to, port_of, unused
from tests.wire.link_connection import PREAMBLE, LinkConnection, LinkRefusedError
from tests.wire.running_worker import limited, running_worker, text_request

__all__ = ["certificates"]

SECRET = "a secret of this mesh"


async def test_the_port_is_for_peers_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the mesh has a secret, as for every other call; who is refused is in the audit log."""
    log = tmp_path / "audit"
    async with running_worker("echo", mesh_secret=SECRET, audit_log=log) as worker:
        control = worker.control.GetStatus
        status = await control(worker_pb2.GetStatusRequest(), metadata=MeshSecret(SECRET).metadata)
        port = status.worker.link_address
        for shown in ("", "a secret of another mesh"):
            with pytest.raises(LinkRefusedError, match="own services only"):
                await LinkConnection.open(port, shown)
        assert log.read_text().count("/inferloom.v1.LinkService/Attach") == 2
        async with line_to(worker, port, Security(MeshSecret(SECRET))) as line:
            line.link.attach()
            await line.by("tcp")
            assert await line.ask(text_request("ab", **limited(4))).over() is None
    assert SECRET not in caplog.text


async def test_only_gateways_may_attach_with_their_certificate(certificates: Certificates) -> None:
    """As the table of roles says; without a certificate, or without TLS, nobody gets a word."""
    async with running_worker("echo", tls=certificates.of("worker", "w1")) as worker:
        port = await by_operator(worker, certificates)
        for role in Role:
            name = "w2" if role is Role.WORKER else ""
            security = certificates.security(role, name)
            assert security.tls is not None
            context = ClientTls(security.tls, PREAMBLE.decode()).context()
            if may_call(role, "/inferloom.v1.LinkService/Attach"):
                (await LinkConnection.open(port, context=context)).cancel()
            else:
                with pytest.raises(LinkRefusedError, match=f"A {role} may not call Attach"):
                    await LinkConnection.open(port, context=context)
        nobody = ssl.create_default_context(cafile=certificates.ca)
        nobody.set_alpn_protocols([PREAMBLE.decode()])
        other = ClientTls(TlsFiles(certificates.of("gateway"), Role.GATEWAY), "http/1.1").context()
        older = ClientTls(TlsFiles(certificates.of("gateway"), Role.GATEWAY), PREAMBLE.decode()).context()
        assert older.minimum_version is ssl.TLSVersion.TLSv1_3
        older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_2  # has sessions with an id
        wrong: list[ssl.SSLContext | None] = [nobody, other, older, None]
        for shown in wrong:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await LinkConnection.open(port, context=shown)
        async with line_to(worker, port, certificates.security("gateway")) as line:
            line.link.attach()
            await line.by("tcp")
            assert await line.ask(text_request("ab", **limited(4))).over() is None


def test_the_loop_of_services_does_the_same(certificates: Certificates) -> None:
    """With its own TLS: who may attach does, who may not is told so, and all of it ends at once."""

    async def attach() -> None:
        async with running_worker("echo", tls=certificates.of("worker", "w1")) as worker:
            port = await by_operator(worker, certificates)
            operator = certificates.security("operator").tls
            assert operator is not None
            with pytest.raises(LinkRefusedError, match="A operator may not call Attach"):
                await LinkConnection.open(port, context=ClientTls(operator, PREAMBLE.decode()).context())
            async with line_to(worker, port, certificates.security("gateway")) as line:
                line.link.attach()
                await line.by("tcp")
                large = line.ask(text_request("ab" * 200, **limited(1500)))
                assert await large.over() is None
                assert large.text() == ("ab" * 1000)[:1500]
                worker.stop.set()
                async with within(2):
                    await worker.serving

    uvloop.run(attach())


async def test_only_a_worker_of_the_mesh_is_attached_to(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another role, and another authority's worker, are not spoken to."""
    caplog.set_level(logging.INFO)
    stranger = Certificates(tmp_path / "elsewhere")
    async with running_worker("echo", tls=certificates.of("worker", "w1")) as worker:
        for folder in (certificates.of("registry"), stranger.of("worker", "w1")):
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
            server.set_alpn_protocols([PREAMBLE.decode()])
            heard: list[bytes] = []

            async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                heard.append(await reader.read())  # noqa: B023 # of this turn
                writer.close()

            door = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=server)
            where = f"127.0.0.1:{door.sockets[0].getsockname()[1]}"
            caplog.clear()
            async with line_to(worker, where, certificates.security("gateway")) as line:
                line.link.attach()
                await until_async(lambda: caplog.text, "a refusal", lambda text: "is not to be had" in text)
                assert "certificate verify failed" in caplog.text
                assert await line.ask(text_request("ab", **limited(4))).over() is None
            assert not any(heard)
            door.close()


async def test_a_slow_greeting_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that stops in its middle; those who are attached do not notice."""
    monkeypatch.setattr("inferloom_mesh.frame_connection.GREETING_S", 0.3)
    async with running_worker("echo") as worker, attached(worker, "tcp") as link:
        port = Address.parse(await port_of(worker))
        for begun in (b"", PREAMBLE[:5], PREAMBLE, PREAMBLE + b"\0\0\0\x09abc"):
            reader, writer = await asyncio.open_connection(port.host, port.port)
            writer.write(begun)
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read() == b""
            writer.close()
        assert (await link.run(text_request("a", **limited(2)))).text() == "aa"


async def test_a_greeting_that_is_too_large_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger makes nobody hold a megabyte for it, not even for the time of a greeting."""
    monkeypatch.setattr("inferloom_mesh.frame_connection.GREETING_S", 10 * PATIENCE_S)
    async with running_worker("echo") as worker:
        port = Address.parse(await port_of(worker))
        reader, writer = await asyncio.open_connection(port.host, port.port)
        writer.write(PREAMBLE + (2**12 + 1).to_bytes(4, "big"))
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()


async def test_addresses_that_may_not_call_are_not_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get no handshake and no place, and are in the audit log."""
    monkeypatch.setattr("inferloom_mesh.frame_connection.GREETING_S", 10 * PATIENCE_S)
    log, port = tmp_path / "audit", unused()
    settings = {"worker_link_port": Address.parse(port).port, "audit_log": log, "allow": "10.0.0.0/8"}
    async with running_worker("echo", **settings):
        at = Address.parse(port)
        reader, writer = await asyncio.open_connection(at.host, at.port)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()
        assert log.read_text().count("/inferloom.v1.LinkService/Attach") == 1


async def test_who_is_too_many_is_told_of_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And no handshake is counted where there is none."""
    monkeypatch.setattr(link_port, "MOST_HANDSHAKES", 0)
    monkeypatch.setattr(link_port, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr("inferloom_mesh.frame_connection.GREETING_S", 10 * PATIENCE_S)
    async with running_worker("echo") as worker, attached(worker, "tcp") as link:
        port = Address.parse(await port_of(worker))
        reader, writer = await asyncio.open_connection(port.host, port.port)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()
        assert "the link's port has 1 connections" in caplog.text
        assert (await link.run(text_request("a", **limited(2)))).text() == "aa"


async def test_handshakes_come_at_a_bounded_pace(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of two in a second waits, and is let in."""
    monkeypatch.setattr(handshakes, "PER_S", 2)
    security = certificates.security("gateway").tls
    assert security is not None
    context = ClientTls(security, PREAMBLE.decode()).context()
    async with running_worker("echo", tls=certificates.of("worker", "w1")) as worker:
        port = await by_operator(worker, certificates)
        began = time.monotonic()
        opened = [await LinkConnection.open(port, context=context) for _ in range(3)]
        assert time.monotonic() - began > 0.9
        for each in opened:
            each.cancel()


async def test_what_a_stranger_says_is_a_short_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it says each time."""
    caplog.set_level(logging.INFO)
    said = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        said += 1
        words = f"{said} times\nERROR all is lost " + "x" * 100_000
        answer = link_pb2.CallEnd(code=7, message=words).SerializeToString()
        writer.write(PREAMBLE + len(answer).to_bytes(4, "big") + answer)
        await reader.read()
        writer.close()

    door = await asyncio.start_server(refuse, "127.0.0.1", 0)
    where = f"127.0.0.1:{door.sockets[0].getsockname()[1]}"
    async with running_worker("echo") as worker, line_to(worker, where) as line:
        line.link.attach()
        await until_async(lambda: said, "three tries", lambda times: times >= 3)
        lines = [each for each in caplog.messages if "is not to be had" in each]
        assert len(lines) == 1
        assert "1 times ERROR all is lost" in lines[0]
        assert "\n" not in lines[0]
        assert len(lines[0]) < 400
    door.close()


async def test_a_dial_that_is_late_and_let_in_in_one_turn_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stood still: the answer and the end of the patience are found together."""
    loop, answered = asyncio.get_running_loop(), threading.Event()

    def stand_still() -> None:
        assert answered.wait(PATIENCE_S)
        later = loop.time() + 2 * dialer.DIAL_S
        monkeypatch.setattr(loop, "time", lambda: later)

    monkeypatch.setattr(dialer, "DIAL_S", PATIENCE_S)
    with socket.create_server(("127.0.0.1", 0)) as door:

        def welcome() -> None:
            accepted, _ = door.accept()
            with accepted:
                accepted.recv(100)
                loop.call_soon_threadsafe(stand_still)
                accepted.sendall(PREAMBLE + bytes(4))
                answered.set()
                accepted.recv(100)

        meeting = asyncio.create_task(asyncio.to_thread(welcome))
        opened: list[TcpStream] = []
        await Dialer(OPEN).dial(f"127.0.0.1:{door.getsockname()[1]}", opened.append)
        assert [each.connection.open for each in opened] == [True]
        assert not opened[0].connection.over
        opened[0].connection.abort(None)
        await meeting
