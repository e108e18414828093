"""Signals that stop a worker."""

import os
import signal
from pathlib import Path

import grpc
import pytest

from tests.wire.processes import Process, calling, status_of
from tests.wire.running_worker import limited, text_request


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
async def test_a_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    """What runs is answered to its end, and then the process ends well. A closed terminal is one of them."""
    environment = {**os.environ, "INFERLOOM_REGISTRY": "127.0.0.1:1"}
    command = ("worker", "--model", "slow=echo:delay_ms=100", "--listen", "127.0.0.1:0")
    with Process(environment, tmp_path, *command) as worker:
        async with calling((await worker.report())["address"]) as (stub, _):
            slow = stub.Generate(text_request("0123456789", model="slow", **limited(20)))
            await slow.read()
            worker.process.send_signal(number)
            assert await status_of(slow) is grpc.StatusCode.OK
        assert await worker.ended() == 0
