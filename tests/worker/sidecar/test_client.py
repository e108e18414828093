"""The connections to a server."""

import asyncio
import json
from pathlib import Path

import pytest

from inferloom_mesh import watched
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.key import no_key
from tests.patience import PATIENCE_S


async def test_a_client_that_is_closed_says_that_the_server_is_lost() -> None:
    """Also to who came a moment too late."""
    client = Client(ServerAddress.parse("http://127.0.0.1:9"), no_key)
    with pytest.raises(InferloomError):
        await client.post("http://127.0.0.1:9/v1/embeddings", {})
    await client.close()
    for url in ("embeddings", "rerank"):
        with pytest.raises(InferloomError, match="served no more") as caught:
            await client.post(f"http://127.0.0.1:9/v1/{url}", {})
        assert caught.value.reason is Reason.WORKER_LOST
    with pytest.raises(InferloomError, match="served no more"):
        await client.get("http://127.0.0.1:9/health")


async def test_a_server_that_is_not_reached_is_none_that_was_lost() -> None:
    """It had nothing of the request, which so cannot have ended it; the gateway asks elsewhere."""
    client = Client(ServerAddress.parse("http://127.0.0.1:9"), no_key)
    for asking in (client.post("http://127.0.0.1:9/v1/rerank", {}), client.get("http://127.0.0.1:9/health")):
        with pytest.raises(InferloomError, match="cannot be reached") as caught:
            await asking
        assert caught.value.reason is Reason.NO_WORKER
    await client.close()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_request_that_a_server_may_have_read_is_not_sent_again(times: int) -> None:
    """Only one on a connection that had stayed open, and was closed meanwhile."""
    read: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        if len(read) == times:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        root = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(ServerAddress.parse(root), no_key)
        for _ in range(times - 1):
            with pytest.raises(InferloomError, match="closed the connection"):
                await client.post(root, {})
        assert await client.post(root, {}) == {}
        assert len(read) == times
        with pytest.raises(InferloomError):
            await client.post(root, {})  # on the old connection, which is closed, and then on a new one
        assert len(read) == times + 1
        await client.close()


async def test_callers_who_count_tokens_do_not_make_a_server_seem_away() -> None:
    """Looks after it have connections of their own."""
    stuck = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await stuck.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        root = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(ServerAddress.parse(root), no_key)
        asking = [asyncio.create_task(client.ask(f"{root}/tokenize", {})) for _ in range(9)]
        await asyncio.sleep(0.05)
        assert (await client.get(f"{root}/health", limit_s=PATIENCE_S)).status == 200
        stuck.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        await client.close()


async def test_a_key_that_is_replaced_is_sent_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on connections that stay open. What is no key is not sent, and none is in an error, not those of
    before either."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    heard: list[str] = []
    file = tmp_path / "key"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            heard.append(next(line.split()[2] for line in head.splitlines() if "Bearer" in line))
            body = json.dumps({"error": f"none of {', '.join(heard)}"}).encode()
            writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        root = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        file.write_text("first-key\n")
        address = ServerAddress.parse(f"{root}?key_file={file}")
        client = Client(address, address.key_source())
        said = ""
        for text in ("first-key", "second-key", "no key", "third-key"):
            file.write_text(text)
            said = client.refusal(await client.get(root)).message
        assert heard == ["first-key", "second-key", "second-key", "third-key"]
        assert said == "none of [key], [key], [key], [key]"
        await client.close()
