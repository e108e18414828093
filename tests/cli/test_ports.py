"""Ports are looked at before anything is started."""

import asyncio
import socket

import pytest

from inferloom_cli.ports import require_apart, require_free
from inferloom_cli.refusal import RefusedError
from inferloom_mesh.net import Address
from tests.cli.fake_mesh import FakeMesh


def test_a_taken_port_names_the_flag_that_moves_it() -> None:
    """The line holds the port and the flag."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RefusedError, match=rf"port {port} is taken .* --grpc-port"):
            require_free([(Address("127.0.0.1", port), "--grpc-port")])


def test_a_free_port_stays_free() -> None:
    """Asking leaves nothing bound."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address("127.0.0.1", other.getsockname()[1])
    require_free([(address, "--port")])
    require_free([(address, "--port")])


def test_an_address_of_another_machine_is_refused() -> None:
    """An address that this machine does not have cannot be listened on (TEST-NET-1)."""
    with pytest.raises(RefusedError, match=r"cannot listen on 192\.0\.2\.1:80"):
        require_free([(Address("192.0.2.1", 80), "--port")])


async def test_all_clashes_are_told_at_once_and_whose_they_are(mesh: FakeMesh) -> None:
    """One of ours is told from another program, and each port comes with its flag."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RefusedError) as refused:
            await asyncio.to_thread(
                require_free,
                [
                    (Address("127.0.0.1", port), "--port"),
                    (Address("127.0.0.1", 0), "--worker-port"),
                    (mesh.address, "--grpc-port"),
                ],
            )
    lines = str(refused.value).splitlines()[1:]
    assert lines == [
        f"  port {port} is taken by another process (--port)",
        f"  port {mesh.address.port} is taken by another Inferloom (--grpc-port)",
    ]


def test_two_that_want_one_port_are_told_so() -> None:
    """Nobody else has it; the flag of either moves it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address("127.0.0.1", other.getsockname()[1])
    free = Address("127.0.0.1", 0)
    with pytest.raises(
        RefusedError, match=rf"^port {address.port} is that of --port; choose another with --grpc-port$"
    ):
        require_free([(address, "--port"), (free, "--worker-port"), (address, "--grpc-port"), (free, "-")])


def test_a_service_has_a_port_for_each_of_its_doors() -> None:
    """Any free port is another each time."""
    free, one = Address("127.0.0.1", 0), Address("127.0.0.1", 8000)
    require_apart([free, free, None, one, Address("127.0.0.1", 9000), None])
    with pytest.raises(RefusedError, match=r"^127\.0\.0\.1:8000 is to be listened on twice"):
        require_apart([one, free, one])
