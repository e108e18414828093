"""What is written of connections that were ended is bounded."""

import pytest

from inferloom_worker.rpc.attach.port_log import LINES_PER_S, PortLog


def test_lines_past_the_bound_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """They are told of with the next line that is written."""
    now = 100.0
    log = PortLog(lambda: now)
    for number in range(LINES_PER_S + 5):
        log.warn("connection %d", number)
    assert len(caplog.messages) == LINES_PER_S
    now += 1.0
    log.warn("connection %d", 99)
    assert caplog.messages[LINES_PER_S:] == [
        "5 further lines about connections to the link's port",
        "connection 99",
    ]
