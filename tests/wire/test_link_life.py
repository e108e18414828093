"""What becomes of a connection at the link's own port."""

import asyncio
import time
from pathlib import Path

import pytest

from inferloom_gateway.calls.attach import tcp_stream
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_mesh import watched
from inferloom_mesh.client_tls import ClientTls
from inferloom_mesh.errors import Reason
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.tls_files import TlsFiles
from inferloom_worker.rpc.attach import gateway_connection
from tests.gateway.test_metrics import value
from tests.patience import PATIENCE_S, within
from tests.wire.certificates import Certificates, certificates
from tests.wire.echo_mesh import echo_mesh
from tests.wire.gateway_line import ENDLESS, by_operator, line_to, port_of
from tests.wire.link_connection import PREAMBLE, LinkConnection
from tests.wire.running_worker import limited, running_worker, text_request
from tests.wire.tcp_proxy import TcpProxy

__all__ = ["certificates"]


async def test_a_mesh_uses_it_by_itself_and_moves_streams_when_a_worker_goes() -> None:
    """From the registry on: a worker says where its port is, and its gateway goes there. The streams of a
    worker that ends at once go on at the other."""
    async with echo_mesh("echo=echo:delay_ms=10", workers=2) as mesh:
        ports = [await port_of(worker) for worker in mesh.workers]
        assert all(port.startswith("127.0.0.1:") for port in ports)
        async with asyncio.timeout(PATIENCE_S):
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
            async with asyncio.timeout(PATIENCE_S):
                while not (await worker.status()).load.running:
                    pass  # each look gives way to everything else
        await asyncio.sleep(0.2)
        mesh.workers[0].stop.set()  # without any time to drain
        assert await asyncio.gather(*streams) == [f"{number}ab" * 30 for number in range(8)]


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


async def test_certificates_that_are_replaced_are_used_by_new_connections(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At both ends; a link that is open goes on."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
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


async def test_a_worker_that_stops_ends_its_links_in_order() -> None:
    """At once, where nothing runs."""
    async with running_worker("echo") as worker, line_to(worker, await port_of(worker)) as line:
        line.link.attach()
        await line.by("tcp")
        worker.stop.set()
        async with within(0.9):
            await worker.serving


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
            async with within(1.8):
                await line.link.close(1.0)
            assert time.monotonic() - began > 0.9
            await worker.until(running=0)


@pytest.mark.parametrize("transport", ["tcp", "grpc"])
async def test_a_request_of_megabytes_is_read_and_refused_in_the_workers_own_words(transport: str) -> None:
    """It goes in pieces, and a small one that is asked behind it is answered before it all has come."""
    async with running_worker("echo") as worker:
        port = await port_of(worker) if transport == "tcp" else ""
        async with line_to(worker, port) as line:
            line.link.attach()
            await line.by(transport)
            large = line.ask(text_request("x" * 15 * 2**20))
            small = line.ask(text_request("ab", **limited(4)))
            assert await small.over() is None
            assert not large.ends
            failure = await large.over()
            assert failure is not None
            assert failure.verdict.error.reason is Reason.CONTEXT_LENGTH_EXCEEDED
