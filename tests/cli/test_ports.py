"""Ports are looked at before anything is started."""

import socket

import pytest

from inferloom_cli.ports import require_free
from inferloom_cli.refusal import RefusedError
from inferloom_mesh.net import Address


def test_a_taken_port_names_the_flag_that_moves_it():
    """The line holds the port and the flag."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RefusedError, match=rf"port {port} is taken .* --grpc-port"):
            require_free(Address("127.0.0.1", port), "--grpc-port")


def test_a_free_port_stays_free():
    """Asking leaves nothing bound."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address("127.0.0.1", other.getsockname()[1])
    require_free(address, "--port")
    require_free(address, "--port")


def test_an_address_of_another_machine_is_refused():
    """An address that this machine does not have cannot be listened on (TEST-NET-1)."""
    with pytest.raises(RefusedError, match=r"cannot listen on 192\.0\.2\.1:80"):
        require_free(Address("192.0.2.1", 80), "--port")
