"""Who leaves ends all requests of a connection, also one that others wait behind."""

import asyncio
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from inferloom_gateway.http.connection.cycle import Cycle
from inferloom_gateway.http.connection.protocol import MOST_WAITING, Connection
from inferloom_gateway.http.sink import DIRECT
from tests.patience import PATIENCE_S

POST = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
GET = b"GET /b HTTP/1.1\r\nhost: x\r\n\r\n"


class Transport:
    """A connection that goes nowhere."""

    def __init__(self) -> None:
        self.reads = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False


class App:
    """Notes who leaves, by both ways of hearing it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.left: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.begun.append(path)
        cast("Cycle", scope[DIRECT]).when_left(lambda: self.left.append(f"{path} told"))
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        self.left.append(f"{path} read")


def connected(app: App) -> tuple[Connection, Transport]:
    config = Config(app, log_config=None, lifespan="off")
    config.load()
    transport = Transport()
    connection = Connection(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(cast("asyncio.Transport", transport))
    return connection, transport


@pytest.mark.parametrize("behind", [0, 1, MOST_WAITING])
async def test_who_leaves_ends_the_request_that_others_wait_behind(behind: int) -> None:
    """Those that wait never begin."""
    app = App()
    connection, _ = connected(app)
    connection.data_received(POST + GET * behind)
    await asyncio.sleep(0)
    connection.connection_lost(ConnectionResetError())
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*connection.tasks)
    assert app.begun == ["/a"]
    assert app.left == ["/a told", "/a read"]
    assert not connection.pipeline


async def test_a_few_may_wait_before_no_more_is_read() -> None:
    """A connection that is not read does not tell that its client has left."""
    app = App()
    connection, transport = connected(app)
    connection.data_received(POST + GET * (MOST_WAITING - 1))
    assert transport.reads
    connection.data_received(GET)
    assert not transport.reads
    connection.connection_lost(None)
    await asyncio.gather(*connection.tasks)
