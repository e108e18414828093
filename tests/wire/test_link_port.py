"""The link's own port, between a real worker and a gateway's real line to it."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2, worker_pb2
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_gateway.calls.attach import dialer, tcp_stream
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_gateway.calls.attach_link import AttachLink
from inferloom_gateway.calls.grpc_link import GrpcLink
from inferloom_gateway.calls.link import CallFailedError
from inferloom_mesh import tls_files
from inferloom_mesh.channel import open_channel
from inferloom_mesh.client_tls import ClientTls
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import Reason
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role, may_call
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.tls_files import TlsFiles
from inferloom_worker.rpc.attach import gateway_connection, handshakes, link_port
from tests.gateway.test_link_frames import Seen
from tests.gateway.test_metrics import value
from tests.wire.attached import attached
from tests.wire.certificates import Certificates, certificates
from tests.wire.echo_mesh import echo_mesh
from tests.wire.link_connection import PREAMBLE, LinkConnection, LinkRefusedError
from tests.wire.running_worker import PATIENCE, RunningWorker, limited, running_worker, text_request
from tests.wire.tcp_proxy import TcpProxy

__all__ = ["certificates"]


SECRET = "a secret of this mesh"
ENDLESS = "slow=echo:delay_ms=60000"


async def until(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(patience):
        while not holds():  # noqa: ASYNC110 # of several things, which nobody tells of
            await asyncio.sleep(0.01)


class Asked(Seen):
    """What became of a generation."""

    def text(self) -> str:
        """All of it."""
        return "".join(event[3] if isinstance(event, tuple) else event.delta.text for event in self.events)

    async def over(self) -> CallFailedError | None:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()
        return self.ends[0]


class Line:
    """A gateway's line to a worker, and where it believes the link's port to be."""

    def __init__(self, worker: RunningWorker, where: str, security: Security) -> None:
        self.where = where
        self.calls = GrpcLink(str(worker.address), security=security)
        self.link = AttachLink(
            str(worker.address), self.calls, dialer=Dialer(security), link_address=lambda: self.where
        )

    def ask(self, request: pb.GenerateRequest) -> Asked:
        """Start a generation."""
        asked = Asked()
        self.link.generate(request, CallContext("r"), asked)
        return asked

    async def by(self, transport: str) -> None:
        """Wait until calls go by a transport."""
        await until(lambda: self.link.transport == transport)


async def port_of(worker: RunningWorker) -> str:
    """Where a worker says that its link's port is."""
    return (await worker.status()).worker.link_address


@asynccontextmanager
async def line_to(worker: RunningWorker, where: str, security: Security = OPEN) -> AsyncIterator[Line]:
    """A line until the block ends."""
    line = Line(worker, where, security)
    try:
        yield line
    finally:
        await line.link.close(None)


def unused() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_a_port_that_comes_back_is_used_again_and_costs_nobody_a_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Meanwhile calls go by gRPC, and one that runs there ends there."""
    caplog.set_level(logging.INFO)
    async with running_worker("echo", "paced=echo:delay_ms=20") as worker:
        port = await port_of(worker)
        async with line_to(worker, unused()) as line:
            line.link.attach()
            paced = line.ask(text_request("ab", model="paced", **limited(60)))
            quick = line.ask(text_request("ab", **limited(4)))
            assert await quick.over() is None
            assert quick.text() == "abab"
            assert line.link.transport == "grpc"
            assert "is not to be had" in caplog.text
            line.where = port
            await line.by("tcp")
            assert await line.ask(text_request("ab", **limited(4))).over() is None
            assert not paced.ends
            assert await paced.over() is None
            assert paced.text() == "ab" * 30
    assert "attached at its link's own port again" in caplog.text


async def test_a_port_that_drops_what_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes in the same moment goes by gRPC."""
    monkeypatch.setattr(dialer, "DIAL_S", 0.3)
    silent = socket.create_server(("127.0.0.1", 0))
    where = f"127.0.0.1:{silent.getsockname()[1]}"
    async with running_worker("echo") as worker, line_to(worker, where) as line:
        line.link.attach()
        async with asyncio.timeout(0.25):
            assert await line.ask(text_request("ab", **limited(4))).over() is None
        line.where = await port_of(worker)
        await line.by("tcp")
    silent.close()


async def test_a_worker_without_the_port_is_attached_by_grpc() -> None:
    """It says that it has none."""
    async with running_worker("echo", worker_link_port=None) as worker:
        assert await port_of(worker) == ""
        async with line_to(worker, "") as line:
            assert await line.ask(text_request("ab", **limited(4))).over() is None
            assert line.link.transport == "grpc"


async def test_a_link_that_is_lost_ends_its_calls_and_comes_back() -> None:
    """The calls are lost, so that they go elsewhere; the worker has freed what they held."""
    async with running_worker("echo", ENDLESS) as worker:
        port = await port_of(worker)
        async with TcpProxy(Address.parse(port)) as between, line_to(worker, str(between.address)) as line:
            line.link.attach()
            await line.by("tcp")
            waiting = [line.ask(text_request(model="slow")) for _ in range(3)]
            await worker.until(running=3)
            line.where = port
            for writer in between._writers:
                writer.transport.abort()
            for asked in waiting:
                failure = await asked.over()
                assert failure is not None
                assert failure.verdict.error.reason is Reason.WORKER_LOST
            await worker.until(running=0)
            await line.by("tcp")
            assert await line.ask(text_request("ab", **limited(4))).over() is None


async def test_silence_is_noticed_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is between forwards nothing and closes nothing."""
    monkeypatch.setattr(tcp_stream, "PATIENCE_S", 2)
    monkeypatch.setattr(gateway_connection, "PATIENCE_S", 2)
    async with running_worker("echo", ENDLESS) as worker:
        port = await port_of(worker)
        async with TcpProxy(Address.parse(port)) as between, line_to(worker, str(between.address)) as line:
            line.link.attach()
            await line.by("tcp")
            asked = line.ask(text_request(model="slow"))
            await worker.until(running=1)
            between.freeze()
            assert await asked.over() is not None
            await worker.until(running=0)


async def test_a_worker_that_stops_ends_its_links_in_order() -> None:
    """At once, where nothing runs."""
    async with running_worker("echo") as worker, line_to(worker, await port_of(worker)) as line:
        line.link.attach()
        await line.by("tcp")
        worker.stop.set()
        async with asyncio.timeout(0.9):
            await worker.serving


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
                async with asyncio.timeout(2):
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
                await until(lambda: "is not to be had" in caplog.text)
                assert "certificate verify failed" in caplog.text
                assert await line.ask(text_request("ab", **limited(4))).over() is None
            assert not any(heard)
            door.close()


async def test_certificates_that_are_replaced_are_used_by_new_connections(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At both ends; a link that is open goes on."""
    monkeypatch.setattr(tls_files, "LOOK_S", 0.0)
    folder, mine = certificates.of("worker", "w3"), certificates.of("gateway", "g3")
    security = Security(tls=TlsFiles(mine, Role.GATEWAY))
    assert security.tls is not None
    tls = ClientTls(security.tls, PREAMBLE.decode())
    async with running_worker("echo", tls=folder) as worker:
        port = await by_operator(worker, certificates)

        async def serial() -> str:
            opened = await LinkConnection.open(port, context=tls.context())
            held = opened._writer.get_extra_info("peercert")["serialNumber"]
            opened.cancel()
            return str(held)

        async with line_to(worker, port, security) as line:
            line.link.attach()
            await line.by("tcp")
            before = await serial()
            certificates.renew(folder, "worker", "w3")
            certificates.renew(mine, "gateway", "g3")
            assert await serial() != before
            # From an authority that nobody here knows: what was there before is used on.
            after = await serial()
            other = Certificates(tmp_path / "other")
            (mine / "ca.crt").write_bytes(other.ca.read_bytes())
            assert await serial() == after
            assert line.link.transport == "tcp"
            assert await line.ask(text_request("ab", **limited(4))).over() is None


async def test_a_mesh_uses_it_by_itself_and_moves_streams_when_a_worker_goes() -> None:
    """From the registry on: a worker says where its port is, and its gateway goes there. The streams of a
    worker that ends at once go on at the other."""
    async with echo_mesh("echo=echo:delay_ms=10", workers=2) as mesh:
        ports = [await port_of(worker) for worker in mesh.workers]
        assert all(port.startswith("127.0.0.1:") for port in ports)
        async with asyncio.timeout(PATIENCE):
            while value((await mesh.http.get("/metrics")).content, "inferloom_links", transport="tcp") != 2:
                pass  # each look gives way to everything else

        async def stream(number: int) -> str:
            prompt = f"{number}ab" * 20  # of a beginning of its own, or all would go to one worker
            body = {"model": "echo", "prompt": prompt, "max_tokens": 90, "stream": True}
            text = ""
            async with mesh.http.stream("POST", "/v1/completions", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith('data: {"'):
                        text += line.split('"text":"')[1].split('"')[0]
            return text

        streams = [asyncio.create_task(stream(number)) for number in range(8)]
        for worker in mesh.workers:
            async with asyncio.timeout(PATIENCE):
                while not (await worker.status()).load.running:
                    pass  # each look gives way to everything else
        await asyncio.sleep(0.2)
        mesh.workers[0].stop.set()  # without any time to drain
        assert await asyncio.gather(*streams) == [f"{number}ab" * 30 for number in range(8)]


async def test_a_slow_greeting_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that stops in its middle; those who are attached do not notice."""
    monkeypatch.setattr("inferloom_mesh.frame_connection.GREETING_S", 0.3)
    async with running_worker("echo") as worker, attached(worker, "tcp") as link:
        port = Address.parse(await port_of(worker))
        for begun in (b"", PREAMBLE[:5], PREAMBLE, PREAMBLE + b"\0\0\0\x09abc"):
            reader, writer = await asyncio.open_connection(port.host, port.port)
            writer.write(begun)
            async with asyncio.timeout(2):
                assert await reader.read() == b""
            writer.close()
        assert (await link.run(text_request("a", **limited(2)))).text() == "aa"


async def test_a_greeting_that_is_too_large_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger makes nobody hold a megabyte for it, not even for the time of a greeting."""
    monkeypatch.setattr("inferloom_mesh.frame_connection.GREETING_S", 10 * PATIENCE)
    async with running_worker("echo") as worker:
        port = Address.parse(await port_of(worker))
        reader, writer = await asyncio.open_connection(port.host, port.port)
        writer.write(PREAMBLE + (2**12 + 1).to_bytes(4, "big"))
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


async def test_addresses_that_may_not_call_are_not_met(tmp_path: Path) -> None:
    """They get no handshake and no place, and are in the audit log."""
    log, port = tmp_path / "audit", unused()
    settings = {"worker_link_port": Address.parse(port).port, "audit_log": log, "allow": "10.0.0.0/8"}
    async with running_worker("echo", **settings):
        at = Address.parse(port)
        reader, writer = await asyncio.open_connection(at.host, at.port)
        async with asyncio.timeout(2):  # and not the five seconds of a greeting
            assert await reader.read() == b""
        writer.close()
        assert log.read_text().count("/inferloom.v1.LinkService/Attach") == 1


async def test_who_is_too_many_is_told_of_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And no handshake is counted where there is none."""
    monkeypatch.setattr(link_port, "MOST_HANDSHAKES", 0)
    monkeypatch.setattr(link_port, "MOST_CONNECTIONS", 1)
    async with running_worker("echo") as worker, attached(worker, "tcp") as link:
        port = Address.parse(await port_of(worker))
        reader, writer = await asyncio.open_connection(port.host, port.port)
        async with asyncio.timeout(2):
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


@contextmanager
def dropping() -> Iterator[str]:
    """An address that answers no SYN."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waits = stack.enter_context(socket.socket())
            waits.setblocking(False)
            waits.connect_ex(full.getsockname())
        yield f"127.0.0.1:{full.getsockname()[1]}"


async def test_workers_that_are_not_to_be_reached_hold_up_no_other(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take no turn of those who do TLS, and are attached by gRPC meanwhile."""
    monkeypatch.setattr(dialer, "MOST_HANDSHAKES", 1)
    monkeypatch.setattr(dialer, "DIAL_S", 2 * PATIENCE)
    security = certificates.security("gateway")
    dialing = Dialer(security)
    async with running_worker("echo", tls=certificates.of("worker", "w1")) as worker:
        port = await by_operator(worker, certificates)
        with dropping() as where:
            nobody = asyncio.create_task(dialing.dial(where, lambda _: None))
            await asyncio.sleep(0.05)
            opened: list[TcpStream] = []
            async with asyncio.timeout(PATIENCE):
                await dialing.dial(port, opened.append)
            assert not nobody.done()
            nobody.cancel()
            opened[0].connection.abort(None)
            async with line_to(worker, where, security) as line:
                line.link.attach()
                assert line.link._attached is None
                await until(lambda: line.link._attached is not None)
                assert line.link.transport == "grpc"


async def test_a_port_that_a_worker_gets_later_is_used() -> None:
    """At the next call, or when the registry says so, though there is a stream of gRPC's."""
    async with running_worker("echo") as worker:
        port = await port_of(worker)
        for again in ("call", "attach"):
            async with line_to(worker, "") as line:
                line.link.attach()
                assert await line.ask(text_request("ab", **limited(4))).over() is None
                assert line.link.transport == "grpc"
                line.where = port
                if again == "call":
                    assert await line.ask(text_request("ab", **limited(4))).over() is None
                else:
                    line.link.attach()
                await line.by("tcp")


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
        await until(lambda: said == 3)
        lines = [each for each in caplog.messages if "is not to be had" in each]
        assert len(lines) == 1
        assert "1 times ERROR all is lost" in lines[0]
        assert "\n" not in lines[0]
        assert len(lines[0]) < 400
    door.close()


async def test_a_dial_that_is_late_and_let_in_in_one_turn_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stood still: the answer and the end of the patience are found together."""
    monkeypatch.setattr(dialer, "DIAL_S", 0.5)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as door:

        def welcome() -> None:
            accepted, _ = door.accept()
            with accepted:
                accepted.recv(100)
                time.sleep(0.1)
                loop.call_soon_threadsafe(time.sleep, 0.6)
                time.sleep(0.1)
                accepted.sendall(PREAMBLE + bytes(4))
                accepted.recv(100)

        meeting = asyncio.create_task(asyncio.to_thread(welcome))
        opened: list[TcpStream] = []
        await Dialer(OPEN).dial(f"127.0.0.1:{door.getsockname()[1]}", opened.append)
        assert [each.connection.open for each in opened] == [True]
        assert not opened[0].connection.over
        opened[0].connection.abort(None)
        await meeting


async def test_closing_takes_its_grace_once_and_leaves_no_stream() -> None:
    """Of two with a call each that does not end, one of which was in use before."""
    async with running_worker("echo", ENDLESS) as worker:
        port = await port_of(worker)
        async with line_to(worker, port) as line:
            for count in (1, 2):
                await Dialer(OPEN).dial(port, line.link._open)
                line.ask(text_request(model="slow"))
                await worker.until(running=count)
            began = time.monotonic()
            await line.link.close(1.0)
            assert 0.9 < time.monotonic() - began < 1.8
            await worker.until(running=0)


async def by_operator(worker: RunningWorker, certificates: Certificates) -> str:
    """Where a worker with certificates says that its port is."""
    security = certificates.security("operator")
    async with open_channel(worker.address, security=security, of=Role.WORKER) as channel:
        stub: Any = WorkerServiceStub(channel)
        return str((await stub.GetStatus(worker_pb2.GetStatusRequest())).worker.link_address)
