"""What was acknowledged is told by the system, where it can be."""

import socket
import sys
from contextlib import suppress

import pytest

from inferloom_mesh.tcp_info import acknowledged


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_the_other_end_has_taken_is_counted() -> None:
    """What does not fit into its buffers is not."""
    with socket.create_server(("127.0.0.1", 0)) as door, socket.create_connection(door.getsockname()) as mine:
        other, _ = door.accept()
        with other:
            before = acknowledged(mine)
            assert before is not None
            mine.sendall(b"x" * 1000)
            other.recv(1000, socket.MSG_WAITALL)
            mine.sendall(b"y")
            other.recv(1)
            assert acknowledged(mine) in (before + 1000, before + 1001)
            mine.setblocking(False)
            sent = 0
            with suppress(BlockingIOError):
                while True:
                    sent += mine.send(b"z" * 2**16)
            now = acknowledged(mine)
            assert now is not None
            assert now < before + 1001 + sent


def test_where_nobody_knows_there_is_no_number() -> None:
    """No TCP, and no socket at all."""
    one, two = socket.socketpair()
    with one, two:
        assert acknowledged(one) is None
    assert acknowledged(None) is None
