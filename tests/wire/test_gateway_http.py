"""HTTP/1.1 itself: what proxies, old clients and Java send, and what they must get."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.patience import PATIENCE_S
from tests.wire.fake_worker import WORDS
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.raw_http import RawConnection, cut, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
TEXT = {"model": "chat-model", "prompt": "ab"}
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
WEBSOCKET = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
COUNT = 2


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def asked(mesh: GatewayMesh, *segments: bytes, times: int = 1) -> list[Any]:
    """The statuses and counts of so many /tokenize requests on one connection."""
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(*segments)
        answers = [await connection.response() for _ in range(times)]
    return [(answer.status, orjson.loads(answer.body).get("count")) for answer in answers]


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
@pytest.mark.parametrize("chunks", [0, 1, 3])
async def test_a_declined_upgrade_keeps_its_body_and_its_connection(
    mesh: GatewayMesh, offer: tuple[str, ...], chunks: int
) -> None:
    """Three requests that offer an upgrade, in one segment, are three requests without it."""
    data = post("/tokenize", TEXT, *offer, chunks=chunks)
    assert await asked(mesh, data * 3, times=3) == [(200, COUNT)] * 3


async def test_a_declined_upgrade_is_understood_however_it_is_cut(mesh: GatewayMesh) -> None:
    """In two segments cut at any place, and in many, with another request behind it."""
    data = post("/tokenize", TEXT, *H2C)
    behind = post("/tokenize", {**TEXT, "prompt": "abc"})
    for place in range(1, len(data) + 1, 7):
        assert await asked(mesh, *cut(data + behind, [place]), times=2) == [(200, COUNT), (200, 3)], place
    chunked = post("/tokenize", TEXT, *H2C, chunks=4)
    assert await asked(mesh, *cut(chunked, range(9, len(chunked), 9))) == [(200, COUNT)]
    head = data.index(b"\r\n\r\n") + 4
    assert await asked(mesh, *cut(data, [head])) == [(200, COUNT)]


async def test_a_declined_upgrade_closes_if_that_was_asked_too(mesh: GatewayMesh) -> None:
    """Only the word upgrade is taken out of Connection."""
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(post("/tokenize", TEXT, "Connection: close, Upgrade", "Upgrade: h2c"))
        assert (await connection.response()).headers["connection"] == "close"
        assert await connection.ended() == b""


async def test_an_upgrade_behind_a_running_stream_waits_its_turn(mesh: GatewayMesh) -> None:
    """Pipelined, answers come in the order of the requests."""
    async with await RawConnection.open(mesh.rest) as connection:
        stream = post("/v1/chat/completions", {**CHAT, "stream": True}, *H2C)
        await connection.send(stream + post("/tokenize", TEXT, *H2C))
        assert (await connection.response()).body.endswith(b"data: [DONE]\n\n")
        assert orjson.loads((await connection.response()).body)["count"] == COUNT


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
async def test_curl_may_offer_http2(mesh: GatewayMesh) -> None:
    """curl --http2 on a plain connection gets its answer over HTTP/1.1."""
    ran = await asyncio.to_thread(
        subprocess.run,
        [
            *("curl", "-sS", "--http2", f"http://{mesh.rest}/v1/chat/completions"),
            *("-H", "content-type: application/json", "-d", orjson.dumps(CHAT).decode()),
        ],
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert orjson.loads(ran.stdout)["choices"][0]["message"]["content"] == "".join(WORDS)


JAVA = """
import java.net.URI;
import java.net.http.*;
public class Post {
    public static void main(String[] args) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int i = 0; i < 2; i++) {
            var request = HttpRequest.newBuilder(URI.create(args[0]))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(args[1])).build();
            var response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body());
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="no JDK")
async def test_javas_own_client_gets_answers(mesh: GatewayMesh, tmp_path: Path) -> None:
    """HttpClient offers h2c with every request by default."""
    source = tmp_path / "Post.java"
    source.write_text(JAVA)
    ran = await asyncio.to_thread(
        subprocess.run,
        ["java", str(source), f"http://{mesh.rest}/tokenize", orjson.dumps(TEXT).decode()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert [line[:14] for line in ran.stdout.splitlines()] == ['200 {"count":2'] * 2, ran.stderr


async def test_a_client_of_http_1_0_gets_no_chunks(mesh: GatewayMesh) -> None:
    """Its stream ends with the connection; a body with a length has its length."""
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(post("/v1/chat/completions", {**CHAT, "stream": True}, version="1.0"))
        answer = await connection.response()
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["connection"] == "close"
    assert answer.body.startswith(b"id: 0\ndata: {")
    assert answer.body.endswith(b"data: [DONE]\n\n")
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(post("/tokenize", TEXT, version="1.0"))
        answer = await connection.response()
        assert orjson.loads(answer.body)["count"] == COUNT
        assert await connection.ended() == b""


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
async def test_what_is_not_http_is_refused_with_an_error_object(mesh: GatewayMesh, garbage: bytes) -> None:
    """A TLS hello, or what only a proxy can do."""
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(garbage)
        answer = await connection.response()
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
        assert answer.error["message"] == "This is not a valid HTTP/1.1 request."
        assert await connection.ended() == b""


async def test_garbage_behind_a_stream_does_not_get_into_it(mesh: GatewayMesh) -> None:
    """The response under way ends as it should, and then the connection."""
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(post("/v1/chat/completions", {**CHAT, "stream": True}) + b"\x00\x01\r\n\r\n")
        assert (await connection.response()).body.endswith(b"data: [DONE]\n\n")
        assert await connection.ended() == b""


async def test_an_endless_head_is_refused(mesh: GatewayMesh) -> None:
    """A head has 64 KiB."""
    async with await RawConnection.open(mesh.rest) as connection:
        await connection.send(b"GET /v1/models HTTP/1.1\r\n", *[b"x-a: " + b"a" * 8000 + b"\r\n"] * 9)
        answer = await connection.response()
    assert (answer.status, answer.error["code"]) == (431, "request_head_too_large")


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /tokenize HTTP/1.1\r\nhost:",
        post("/tokenize", TEXT)[:-1],
        post("/tokenize", TEXT, chunks=2)[:-1],
        post("/tokenize", TEXT, *H2C)[:-1],
    ],
)
async def test_a_request_that_does_not_arrive_is_given_up(begun: bytes) -> None:
    """Head or body, byte by byte or silent: 408 when its time is over, and the connection ends."""
    async with gateway_mesh(body_limit_s=0.3) as mesh, await RawConnection.open(mesh.rest) as connection:
        await connection.send(begun[:-3], begun[-3:-2], begun[-2:-1])
        answer = await connection.response()
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert answer.error["message"] == "The request did not arrive within 0.3 s."
        assert answer.headers["connection"] == "close"
        assert await connection.ended() == b""


async def test_a_body_that_nobody_waits_for_ends_its_connection_too() -> None:
    """A GET that was answered, and whose body never comes."""
    async with gateway_mesh(body_limit_s=0.3) as mesh, await RawConnection.open(mesh.rest) as connection:
        await connection.send(b"GET /version HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
        assert (await connection.response()).status == 200
        assert await connection.ended() == b""


async def test_one_connection_too_many_is_refused(mesh: GatewayMesh) -> None:
    """It gets 503 with Retry-After; those that are open go on."""
    async with gateway_mesh(max_connections=1) as mesh, await RawConnection.open(mesh.rest) as first:
        await first.send(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await first.response()).status == 200
        async with await RawConnection.open(mesh.rest) as second:
            await second.send(post("/tokenize", TEXT))
            answer = await second.response()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.error["code"] == "server_overloaded"
        await first.send(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await first.response()).status == 200
