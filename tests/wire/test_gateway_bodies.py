"""Request bodies: their encodings, and what they may take of a process."""

import asyncio
import gzip
import zlib
from typing import Any

import orjson
import pytest

from tests.patience import PATIENCE_S
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.raw_http import RawConnection, RawResponse, post

TEXT = orjson.dumps({"model": "chat-model", "prompt": "ab" * 20_000})
JSON = {"content-type": "application/json"}


def bare(data: bytes) -> bytes:
    """Deflated without zlib's header, as some clients do."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


async def tokenize(mesh: GatewayMesh, content: bytes, **headers: str) -> tuple[int, Any]:
    """The status and the JSON of a /tokenize request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await mesh.http.post("/tokenize", content=content, headers={**JSON, **named})
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])),
        ("deflate", zlib.compress(TEXT)),
        ("Deflate", bare(TEXT)),
        ("identity", TEXT),
    ],
    ids=["gzip", "members", "deflate", "bare", "identity"],
)
async def test_an_encoded_body_is_decoded(mesh: GatewayMesh, coding: str, content: bytes) -> None:
    """gzip, of one member or several, and deflate with and without its header."""
    status, answer = await tokenize(mesh, content, content_encoding=coding)
    assert (status, answer["count"]) == (200, 40_000)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x" * 3000])
async def test_another_encoding_is_refused_by_name(mesh: GatewayMesh, coding: str) -> None:
    """415 names the header, and what would do."""
    status, answer = await tokenize(mesh, b"?", content_encoding=coding)
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert answer["error"]["message"].startswith(f"Content-Encoding '{coding[:20]}")
    assert len(answer["error"]["message"]) < 300


@pytest.mark.parametrize(
    "content", [TEXT, gzip.compress(TEXT)[:-9], gzip.compress(TEXT) + b"rest", b"\x1f\x8b"], ids=len
)
async def test_a_body_that_is_not_what_its_encoding_says_is_refused(
    mesh: GatewayMesh, content: bytes
) -> None:
    """Plain, cut off, or with something behind it: 400 says which encoding it is not."""
    status, answer = await tokenize(mesh, content, content_encoding="gzip")
    assert (status, answer["error"]["message"]) == (400, "The body is not valid gzip data.")


async def test_a_bomb_is_refused_at_the_limit() -> None:
    """A body of 16 KiB that becomes 16 MiB is 413 where a body may have 64 KiB."""
    async with gateway_mesh(max_body_bytes=2**16) as mesh:
        bomb = gzip.compress(b" " * 2**24)
        assert len(bomb) < 2**16
        status, answer = await tokenize(mesh, bomb, content_encoding="gzip")
    assert (status, answer["error"]["message"]) == (413, "The decoded body is over the limit of 65536 bytes.")


async def test_curls_own_media_type_gets_a_hint(mesh: GatewayMesh) -> None:
    """curl -d without a header is told which header."""
    status, answer = await tokenize(mesh, TEXT, content_type="application/x-www-form-urlencoded")
    assert status == 415
    assert "-H 'content-type: application/json'" in answer["error"]["message"]


async def test_an_empty_body_is_said_to_be_empty(mesh: GatewayMesh) -> None:
    """And not to be invalid JSON of zero length."""
    for headers in ({}, {"content_encoding": "gzip"}):
        content = gzip.compress(b"") if headers else b""
        status, answer = await tokenize(mesh, content, **headers)
        assert (status, answer["error"]["message"]) == (400, "The body is empty.")


async def test_a_route_has_its_own_bound() -> None:
    """/tokenize takes 4 MiB where completions take what the setting says."""
    async with gateway_mesh(max_body_bytes=2**23) as mesh:
        body = b'{"model": "none", "prompt": "%s"}' % (b"a" * 5 * 2**20)
        assert (await mesh.http.post("/v1/completions", content=body, headers=JSON)).status_code == 404
        status, answer = await tokenize(mesh, body)
        assert (status, answer["error"]["message"]) == (413, "The body is over the limit of 4194304 bytes.")


async def test_unfinished_bodies_hold_a_bounded_amount() -> None:
    """Of eight bodies of 60 KiB where 256 KiB may be held, some are refused, and the others complete."""
    body = post("/tokenize", b" " * 60_000 + orjson.dumps({"model": "chat-model", "prompt": "ab"}))
    async with gateway_mesh(FakeWorker(), body_memory_bytes=2**18) as mesh:
        connections = [await RawConnection.open(mesh.rest) for _ in range(8)]
        for connection in connections:
            await connection.send(body[:50_000], body[50_000:-1])
        reads = {asyncio.create_task(each.response()): each for each in connections}
        early: list[asyncio.Task[RawResponse]] = []
        late = set(reads)
        while len(early) < 4:
            done, late = await asyncio.wait(late, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            assert done
            early += done
        await asyncio.sleep(0.2)  # the others wait for what is left
        refused = [read.result() for read in early]
        assert len(refused) == 4
        assert not any(read.done() for read in late)
        assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(503, "1")}
        assert refused[0].error["code"] == "server_overloaded"
        for read in late:
            await reads[read].send(body[-1:])
        assert {(await read).status for read in late} == {200}
        assert (await tokenize(mesh, TEXT))[0] == 200
        for connection in connections:
            await connection.close()
