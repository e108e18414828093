"""The parts that read request bodies, without a request."""

import asyncio
import gzip
import zlib
from codecs import BOM_UTF8

import pytest

from inferloom_gateway.http.body import json_object
from inferloom_gateway.http.content_encoding import decoded
from inferloom_gateway.http.intake import MOST_WAITING, Intake
from inferloom_mesh.errors import InferloomError


def test_a_bomb_is_not_unpacked() -> None:
    """No more is made of a body than the limit and a byte, however many members it has."""
    for bomb in (zlib.compress(bytes(2**26), 9), gzip.compress(bytes(900)) * 1000):
        with pytest.raises(InferloomError, match="over the limit of 1000 bytes"):
            decoded(bomb, "gzip", 1000)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_json_may_begin_with_a_mark_of_byte_order(kind: type[bytes] | type[bytearray]) -> None:
    """Editors and .NET's writers put one there. Alone it is no body."""
    assert json_object(kind(BOM_UTF8 + b' {"a": 1}')) == {"a": 1}
    with pytest.raises(InferloomError, match="empty"):
        json_object(kind(BOM_UTF8))
    with pytest.raises(InferloomError, match="the key 'a' twice"):
        json_object(kind(BOM_UTF8 + b'{"a": 1, "a": 2}'))


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
