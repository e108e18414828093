"""What the gateway says of a registry that is not there."""

import asyncio
import logging

import pytest

from inferloom_gateway.fleet.connections import Connections, Line
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.membership import Membership
from inferloom_mesh.net import Address


def _connect(member: Member) -> Line:
    """There is no worker to connect to."""
    raise AssertionError(member)


async def test_a_registry_that_has_not_come_yet_is_waited_for_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is no loss, so no warning, until it has been away for long."""
    now = 100.0
    fleet, connections = Fleet(600.0), Connections(_connect, linger_s=1.0)
    membership = Membership([Address("127.0.0.1", 1)], fleet, connections, lambda: now)

    async def until(words: str) -> logging.LogRecord:
        async with asyncio.timeout(20):
            while True:
                for record in caplog.records:
                    if words in record.getMessage():
                        return record
                await asyncio.sleep(0.02)

    with caplog.at_level(logging.INFO, logger="inferloom_gateway"):
        following = asyncio.create_task(membership.run())
        try:
            assert (await until("waiting for the registry at 127.0.0.1:1")).levelname == "INFO"
            assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
            now += 60
            assert (await until("still no registry at 127.0.0.1:1")).levelname == "WARNING"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await connections.close()
