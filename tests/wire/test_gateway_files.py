"""/v1/files, through the OpenAI SDK and by hand."""

import asyncio
import time
from typing import Any

import openai
import orjson
import pytest

from inferloom_gateway.http.connection import refusing
from tests.patience import undisturbed, until_async
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.leftover import leftover
from tests.wire.raw_http import RawConnection, RawResponse

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES = b'{"custom_id": "a"}\n{"custom_id": "b"}\n'


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def test_a_file_is_uploaded_described_read_and_deleted(mesh: GatewayMesh) -> None:
    """files.create, retrieve, content and delete; nothing in an answer is unknown to the SDK."""
    async with mesh.openai() as client:
        made = await client.files.create(file=("input.jsonl", LINES), purpose="batch")
        assert (made.filename, made.bytes, made.purpose, made.status) == (
            "input.jsonl",
            len(LINES),
            "batch",
            "processed",
        )
        assert made.id.startswith("file-")
        assert made.expires_at is not None
        assert abs(made.expires_at - time.time() - 30 * 86_400) < 60
        assert leftover(made) == []
        assert await client.files.retrieve(made.id) == made
        assert (await client.files.content(made.id)).content == LINES
        gone = await client.files.delete(made.id)
        assert (gone.id, gone.deleted, leftover(gone)) == (made.id, True, [])
        for doing in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError) as caught:
                await doing(made.id)
            assert f"No such file: '{made.id}'." in caught.value.message


async def test_a_file_is_kept_as_long_as_it_is_asked_for(mesh: GatewayMesh) -> None:
    """expires_after, as the SDK sends it, and its bounds."""
    async with mesh.openai() as client:
        expiry: Any = {"anchor": "created_at", "seconds": 3600}
        made = await client.files.create(file=("a.jsonl", LINES), purpose="batch", expires_after=expiry)
        assert made.expires_at == made.created_at + 3600
        for wrong, param in (
            ({"anchor": "created_at", "seconds": 3599}, "expires_after.seconds"),
            ({"anchor": "last_active_at", "seconds": 3600}, "expires_after.anchor"),
            ({"anchor": "created_at", "seconds": "soon"}, "expires_after.seconds"),
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.files.create(file=("a", LINES), purpose="batch", expires_after=wrong)  # type: ignore[arg-type] # on purpose
            assert caught.value.param == param
        await client.files.delete(made.id)


async def test_files_are_listed_in_pages(mesh: GatewayMesh) -> None:
    """With after, limit, order and purpose; the SDK turns the pages."""
    async with mesh.openai() as client:
        made = [(await client.files.create(file=(f"{n}.jsonl", LINES), purpose="batch")).id for n in range(5)]
        page = await client.files.list(limit=2)
        assert [each.id for each in page.data] == made[:2:-1]
        assert page.has_more
        assert [each.id async for each in client.files.list(limit=2, order="asc")] == made
        assert [each.id async for each in client.files.list(after=made[3])] == made[2::-1]
        assert (await client.files.list(purpose="batch_output")).data == []
        assert leftover(page.data) == []
        for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"after": "file-x"}):
            reply = await mesh.http.get("/v1/files", params=wrong)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, next(iter(wrong)))
        for name in made:
            await client.files.delete(name)


@pytest.mark.parametrize(
    ("form", "files", "param", "said"),
    [
        ({"purpose": "fine-tune"}, {"file": LINES}, "purpose", "purpose 'fine-tune' are not served here"),
        ({"purpose": "x" * 500}, {"file": LINES}, "purpose", "must be 'batch'"),
        ({}, {"file": LINES}, "purpose", "Missing required parameter: 'purpose'."),
        ({"purpose": "batch"}, {"other": b""}, "file", "Missing required parameter: 'file'."),
        ({"purpose": "batch"}, [("file", b"a"), ("file", b"b")], "file", "one request uploads one file"),
        ({"purpose": ["batch", "batch"]}, {"file": b""}, "purpose", "twice"),
        ({"purpose": "batch", "x": "y" * 9000}, {"file": b""}, "x", "at most 8192 bytes"),
    ],
)
async def test_a_wrong_form_is_refused_in_words(
    mesh: GatewayMesh, form: Any, files: Any, param: str, said: str
) -> None:
    """Every refusal names the field."""
    reply = await mesh.http.post("/v1/files", data=form, files=files)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param)
    assert said in error["message"]
    assert (await mesh.http.get("/v1/files")).json()["data"] == []


async def test_unknown_fields_of_a_form_are_named(mesh: GatewayMesh) -> None:
    """As those of JSON bodies are."""
    form = {"purpose": "batch", "colour": "red"}
    reply = await mesh.http.post("/v1/files", data=form, files={"file": LINES})
    assert (reply.status_code, reply.headers["x-inferloom-ignored"]) == (200, "colour")
    await mesh.http.delete(f"/v1/files/{reply.json()['id']}")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/json"}, b"{}", 415),
        ({"content-type": "multipart/form-data"}, b"", 415),
        ({"content-type": "multipart/form-data; boundary=b"}, b"", 400),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b\r\nnonsense\r\n\r\n--b--\r\n", 400),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b\r\na: b\r\n\r\nx\r\n--b--\r\n", 400),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nunfinished',
            400,
        ),
        ({"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"}, b"", 415),
    ],
)
async def test_what_is_no_form_is_refused(
    mesh: GatewayMesh, headers: dict[str, str], body: bytes, status: int
) -> None:
    """And never a fault of ours."""
    reply = await mesh.http.post("/v1/files", headers=headers, content=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["type"] == "invalid_request_error"


async def test_a_broken_upload_leaves_nothing(mesh: GatewayMesh) -> None:
    """A client that goes away in the middle; its part of the file is removed."""
    folder = mesh.store / "contents/incoming"
    _, writer = await asyncio.open_connection(mesh.rest.host, mesh.rest.port)
    head = b"POST /v1/files HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + b"x" * 3 * 2**20
    writer.write(head + b"content-length: 9000000\r\n\r\n" + part)
    await writer.drain()
    await until_async(lambda: [path.stat().st_size for path in folder.iterdir()], "a part of it", any)
    writer.close()
    await until_async(lambda: list(folder.iterdir()), "nothing left", lambda left: not left)


async def test_uploads_are_bounded_and_others_unharmed() -> None:
    """Too large a file is a 413, whether its size is declared or not; a full disk a 507 before it comes."""
    async with gateway_mesh(FakeWorker(), max_upload_bytes=2**21, max_body_bytes=2048) as mesh:
        form, large = {"purpose": "batch"}, {"file": bytes(2**21 + 1)}
        assert (await mesh.http.post("/v1/files", data=form, files=large)).status_code == 413

        async def chunks() -> Any:
            yield b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n'
            for _ in range(3):
                yield bytes(2**20)
            yield b"\r\n--b--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert (await mesh.http.post("/v1/files", headers=headers, content=chunks())).status_code == 413
        fits = {"file": bytes(2**21)}
        assert (await mesh.http.post("/v1/files", data=form, files=fits)).status_code == 200
    async with gateway_mesh(FakeWorker(), store_spare_bytes=2**62) as mesh:
        reply = await mesh.http.post("/v1/files", data={"purpose": "batch"}, files={"file": b"{}"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage_full")
    async with gateway_mesh(FakeWorker(), no_store=True) as mesh:
        reply = await mesh.http.get("/v1/files")
        assert reply.status_code == 404
        assert "--no-store" in reply.json()["error"]["message"]


@undisturbed(0.05)
async def test_an_upload_may_take_longer_than_other_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it goes on; one that stands still is over, and so is any other body that comes as slowly."""
    monkeypatch.setattr(refusing, "UPLOAD_RATE", 1000)
    opening = b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n'
    purpose = b'\r\n--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    size = len(opening) + 8000 + len(purpose)
    kind = b"content-type: multipart/form-data; boundary=b\r\ncontent-length: %d\r\n\r\n" % size
    async with gateway_mesh(FakeWorker(), body_limit_s=0.2) as mesh:

        async def slowly(path: bytes, pieces: int) -> RawResponse:
            async with await RawConnection.open(mesh.rest) as connection:
                await connection.send(b"POST %s HTTP/1.1\r\nhost: a\r\n" % path + kind + opening)
                for _ in range(pieces):
                    await asyncio.sleep(0.08)
                    await connection.send(bytes(1000))
                if pieces == 8:
                    await connection.send(purpose)
                return await connection.response()

        done = await slowly(b"/v1/files", 8)
        assert (done.status, orjson.loads(done.body)["bytes"]) == (200, 8000)
        assert (await slowly(b"/v1/files", 4)).status == 408
        assert (await slowly(b"/v1/completions", 2)).status == 415
    async with gateway_mesh(FakeWorker(), body_limit_s=0.2) as mesh:
        kind = b"content-type: application/json\r\ncontent-length: 9000\r\n\r\n"
        assert (await slowly(b"/v1/completions", 2)).status == 408
