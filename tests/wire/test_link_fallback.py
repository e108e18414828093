"""Where the link's own port is not to be had, calls go by gRPC."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from inferloom_gateway.calls.attach import dialer
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_gateway.calls.attempt import NOT_LET_IN
from tests.patience import PATIENCE_S, until_async, within
from tests.wire.certificates import Certificates, certificates
from tests.wire.gateway_line import by_operator, line_to, port_of, unused
from tests.wire.running_worker import limited, running_worker, text_request

__all__ = ["certificates"]


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
            await until_async(lambda: caplog.text, "why not", lambda told: "is not to be had" in told)
            line.where = port
            await line.by("tcp")
            assert await line.ask(text_request("ab", **limited(4))).over() is None
            assert not paced.ends
            assert await paced.over() is None
            assert paced.text() == "ab" * 30
    assert "attached at its link's own port again" in caplog.text


async def test_a_gateway_that_is_not_let_in_has_lost_nobody() -> None:
    """Though calls begin in the moment in which the stream does, and more come while it is refused."""
    secret = "a secret of this mesh"
    async with running_worker("echo", mesh_secret=secret) as worker:
        for length in (1, 100_000, 400_000) * 4:
            async with line_to(worker, "") as line:
                asked = [line.ask(text_request("x" * length, **limited(4))) for _ in range(3)]
                await asyncio.sleep(0)
                asked += [line.ask(text_request("y", **limited(4))) for _ in range(3)]
                ends = [await each.over() for each in asked]
            verdicts = [None if end is None else end.verdict for end in ends]
            assert [each and (each.cause, each.suspect) for each in verdicts] == [(NOT_LET_IN, False)] * 6


async def test_a_port_that_drops_what_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes in the same moment goes by gRPC."""
    monkeypatch.setattr(dialer, "DIAL_S", 1.0)
    silent = socket.create_server(("127.0.0.1", 0))
    where = f"127.0.0.1:{silent.getsockname()[1]}"
    async with running_worker("echo") as worker, line_to(worker, where) as line:
        line.link.attach()
        async with within(0.5):
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
    monkeypatch.setattr(dialer, "DIAL_S", 2 * PATIENCE_S)
    security = certificates.security("gateway")
    dialing = Dialer(security)
    async with running_worker("echo", tls=certificates.of("worker", "w1")) as worker:
        port = await by_operator(worker, certificates)
        with dropping() as where:
            nobody = asyncio.create_task(dialing.dial(where, lambda _: None))
            await asyncio.sleep(0.05)
            opened: list[TcpStream] = []
            async with asyncio.timeout(PATIENCE_S):
                await dialing.dial(port, opened.append)
            assert not nobody.done()
            nobody.cancel()
            opened[0].connection.abort(None)
            async with line_to(worker, where, security) as line:
                line.link.attach()
                assert line.link._attached is None
                await until_async(lambda: line.link._attached, "a stream")
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
