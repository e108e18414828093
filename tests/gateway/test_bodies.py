"""The parts that read request bodies, without a request."""

import asyncio
import gzip
import zlib

import pytest

from inferloom_gateway.http.content_encoding import decoded
from inferloom_gateway.http.intake import MOST_WAITING, Intake
from inferloom_mesh.errors import InferloomError


def test_a_bomb_is_not_unpacked() -> None:
    """No more is made of a body than the limit and a byte, however many members it has."""
    for bomb in (zlib.compress(bytes(2**26), 9), gzip.compress(bytes(900)) * 1000):
        with pytest.raises(InferloomError, match="over the limit of 1000 bytes"):
            decoded(bomb, "gzip", 1000)


async def test_the_thread_has_a_bounded_queue() -> None:
    """When as many wait as may, one more is turned away; afterwards there is room again."""
    intake = Intake(2**20)
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    waiting = [asyncio.create_task(intake.run(wait)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(InferloomError, match="as many requests as it takes"):
        await intake.run(wait)
    go_on.set()
    await asyncio.gather(*waiting)
    await intake.run(wait)
    intake.close()
