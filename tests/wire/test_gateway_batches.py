"""/v1/batches, through the OpenAI SDK, before scripted workers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import Batch

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.batching import runner
from inferloom_mesh.context import CallContext, read_context
from inferloom_mesh.errors import overloaded
from tests.patience import PATIENCE_S, until_async
from tests.wire.fake_worker import WORDS, FakeWorker, hang, say_hello
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.leftover import leftover

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


def line(number: int, url: str = CHAT, **body: Any) -> dict[str, Any]:
    """A request of a batch."""
    messages = [{"role": "user", "content": f"number {number}"}]
    given = {"model": "chat-model", "messages": messages} if url == CHAT else {}
    return {"custom_id": f"line {number}", "method": "POST", "url": url, "body": {**given, **body}}


async def submit(client: AsyncOpenAI, lines: Iterable[Any], endpoint: Any = CHAT, **more: Any) -> Batch:
    """Upload lines, and have them answered."""
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    file = await client.files.create(file=("input.jsonl", text.encode()), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


async def over(client: AsyncOpenAI, batch: Batch, *statuses: str) -> Batch:
    """Poll a batch until it has ended, or has one of these statuses."""
    async with asyncio.timeout(PATIENCE_S):
        while batch.status not in (statuses or OVER):
            assert leftover(batch) == []
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def read(client: AsyncOpenAI, name: str | None) -> list[Any]:
    """The lines of a file of results."""
    assert name is not None
    return [json.loads(each) for each in (await client.files.content(name)).text.splitlines()]


async def test_every_line_is_answered(mesh: GatewayMesh) -> None:
    """Good ones in the output file, bad ones in the error file, in order; counts and usage add up."""
    async with mesh.openai() as client:
        lines = [line(n) if n % 5 else line(n, temperature=9) for n in range(40)]
        batch = await submit(client, lines, metadata={"job": "nightly"})
        assert batch.status == "validating"
        assert batch.expires_at == batch.created_at + 86_400
        batch = await over(client, batch)
        assert (batch.status, batch.metadata, batch.model) == ("completed", {"job": "nightly"}, "chat-model")
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 40, "completed": 32, "failed": 8}
        assert batch.usage is not None
        assert (batch.usage.input_tokens, batch.usage.output_tokens) == (32 * 7, 32 * 3)
        assert batch.usage.total_tokens == 32 * 10
        assert batch.usage.input_tokens_details.cached_tokens == 32 * 2
        assert leftover(batch) == []
        for moment in (batch.in_progress_at, batch.finalizing_at, batch.completed_at):
            assert moment is not None
        good, bad = await read(client, batch.output_file_id), await read(client, batch.error_file_id)
        assert [each["custom_id"] for each in good] == [f"line {n}" for n in range(40) if n % 5]
        assert [each["custom_id"] for each in bad] == [f"line {n}" for n in range(0, 40, 5)]
        assert all(each["error"] is None for each in good + bad)
        first = good[0]["response"]
        assert first["status_code"] == 200
        assert openai.types.chat.ChatCompletion.model_validate(first["body"]).choices[
            0
        ].message.content == "".join(WORDS)
        assert bad[0]["response"]["status_code"] == 400
        assert bad[0]["response"]["body"]["error"]["param"] == "temperature"
        assert len({each["id"] for each in good + bad}) == 40
        output = await client.files.retrieve(batch.output_file_id or "")
        assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")


class Attentive(FakeWorker):
    """A worker that keeps the contexts of its calls."""

    seen: list[CallContext]

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> Any:
        """Keep the context, and follow the script."""
        self.seen.append(read_context(context))
        async for event in super().Generate(request, context):
            yield event


async def test_lines_run_behind_everything_else() -> None:
    """Whatever a line asks for, the worker hears the lowest cap; the line's name goes along."""
    worker = Attentive()
    worker.seen = []
    async with gateway_mesh(worker) as mesh, mesh.openai() as client:
        batch = await over(client, await submit(client, [line(1, priority=100)]))
    assert batch.status == "completed"
    assert [(each.request_id, each.priority_cap) for each in worker.seen] == [(f"{batch.id}-1", -100)]


async def test_each_endpoint_can_be_asked_for(mesh: GatewayMesh) -> None:
    """Completions, embeddings, responses and rerank; other endpoints are refused."""
    bodies: dict[str, dict[str, Any]] = {
        "/v1/completions": {"model": "chat-model", "prompt": "a"},
        "/v1/embeddings": {"model": "org/embedder", "input": ["a", "bb"]},
        "/v1/responses": {"model": "chat-model", "input": "a", "store": False},
        "/v1/rerank": {"model": "org/embedder", "query": "a", "documents": ["b", "c"]},
    }
    async with mesh.openai() as client:
        for endpoint, body in bodies.items():
            batch = await over(client, await submit(client, [line(1, endpoint, **body)], endpoint))
            assert batch.status == "completed"
            (answer,) = await read(client, batch.output_file_id)
            assert answer["response"]["status_code"] == 200
            assert batch.usage is not None
            assert batch.usage.input_tokens > 0
        for endpoint in ("/v1/moderations", "/v1/images/generations", "chat"):
            with pytest.raises(openai.BadRequestError) as caught:
                await submit(client, [line(1)], endpoint)
            assert caught.value.param == "endpoint"


@pytest.mark.parametrize(
    ("wrong", "code", "param", "number"),
    [
        ("{", "invalid_json_line", None, 2),
        ("[]", "invalid_json_line", None, 2),
        ({**line(2), "custom_id": "line 1"}, "duplicate_custom_id", "custom_id", 2),
        ({**line(2), "custom_id": 2}, "invalid_custom_id", "custom_id", 2),
        ({**line(2), "custom_id": None}, "missing_required_parameter", "custom_id", 2),
        ({**line(2), "method": "GET"}, "invalid_method", "method", 2),
        ({**line(2), "url": "/v1/completions"}, "mismatched_url", "url", 2),
        ({**line(2), "body": []}, "invalid_body", "body", 2),
        ({**line(2), "body": {}}, "missing_required_parameter", "body.model", 2),
        (line(2, stream=True), "unsupported_parameter", "body.stream", 2),
        (line(2, padding="x" * 2**23), "invalid_request", None, 2),
    ],
)
async def test_a_wrong_line_fails_the_batch(
    mesh: GatewayMesh, wrong: Any, code: str, param: str | None, number: int
) -> None:
    """Before anything is computed, with the line and what is wrong with it."""
    async with mesh.openai() as client:
        batch = await over(client, await submit(client, [line(1), wrong, line(3)]))
        assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
        assert batch.errors is not None
        assert batch.errors.data is not None
        (error,) = batch.errors.data
        assert (error.code, error.param, error.line) == (code, param, number)
        assert leftover(batch) == []
        assert mesh.worker.requests == []


async def test_a_batch_must_have_lines_and_not_too_many(
    mesh: GatewayMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file and one of more than 50,000 lines fail; empty lines between others count for nothing."""
    async with mesh.openai() as client:
        batch = await over(client, await submit(client, ["", " "]))
        assert batch.errors is not None
        assert [each.code for each in batch.errors.data or ()] == ["empty_file"]
        many = (json.dumps(line(n)) for n in range(50_001))
        batch = await over(client, await submit(client, many))
        assert batch.errors is not None
        assert [each.code for each in batch.errors.data or ()] == ["too_many_tasks"]
        batch = await over(client, await submit(client, ["", line(1), "", "", line(2), ""]))
        assert batch.request_counts is not None
        assert (batch.status, batch.request_counts.total) == ("completed", 2)


async def test_what_a_batch_is_made_of_is_checked(mesh: GatewayMesh) -> None:
    """The file must be there and of the right purpose; the window is a day; metadata has bounds."""
    async with mesh.openai() as client:
        batch = await over(client, await submit(client, [line(1)]))
        given: Any = {"endpoint": CHAT, "completion_window": "24h"}
        for name in ("file-nobodys", batch.output_file_id or ""):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.batches.create(input_file_id=name, **given)
            assert caught.value.param == "input_file_id"
        for wrong in (
            {"completion_window": "1h"},
            {"metadata": {"a": "b" * 513}},
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
        ):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.batches.create(**{**given, "input_file_id": batch.input_file_id, **wrong})
            assert caught.value.param is not None
            assert caught.value.param.partition(".")[0] == next(iter(wrong))
        for doing in (client.batches.retrieve, client.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await doing("batch_nobodys")
        with pytest.raises(openai.BadRequestError, match="'completed' cannot be cancelled"):
            await client.batches.cancel(batch.id)


async def test_results_are_kept_as_long_as_is_asked_for(mesh: GatewayMesh) -> None:
    """output_expires_after counts from when the file is made; the input may be deleted meanwhile."""
    async with mesh.openai() as client:
        batch = await submit(
            client, [line(1)], output_expires_after={"anchor": "created_at", "seconds": 7200}
        )
        await client.files.delete(batch.input_file_id)
        batch = await over(client, batch)
        file = await client.files.retrieve(batch.output_file_id or "")
        assert file.expires_at == file.created_at + 7200


async def test_batches_are_listed_in_pages(mesh: GatewayMesh) -> None:
    """The newest first."""
    async with mesh.openai() as client:
        made = [(await over(client, await submit(client, [line(1)]))).id for _ in range(3)]
        page = await client.batches.list(limit=2)
        assert [each.id for each in page.data] == made[:0:-1]
        assert leftover(page.data) == []
        found = [each.id async for each in client.batches.list(limit=1)]
        assert found[:3] == made[::-1]


async def test_a_cancelled_batch_gives_what_it_has() -> None:
    """Lines that run are given up, those answered are kept, and each of the rest says why it is not."""
    worker = FakeWorker()

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        few = len(at.requests) <= 5
        if len(at.requests) == 9:
            full.set()
        async for event in (say_hello if few else hang)(at, request):
            yield event

    worker.script, full = script, asyncio.Event()
    async with gateway_mesh(worker, batch_concurrency=4) as mesh, mesh.openai() as client:
        batch = await submit(client, [line(n) for n in range(50)])
        async with asyncio.timeout(PATIENCE_S):
            await full.wait()
        await worker.runs(4)
        cancelling = await client.batches.cancel(batch.id)
        assert (cancelling.status, leftover(cancelling)) == ("cancelling", [])
        batch = await over(client, cancelling)
        assert batch.status == "cancelled"
        assert batch.cancelled_at is not None
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 50, "completed": 5, "failed": 0}
        assert len(await read(client, batch.output_file_id)) == 5
        errors = await read(client, batch.error_file_id)
        assert len(errors) == 45
        assert {(each["error"]["code"], each["response"]) for each in errors} == {("batch_cancelled", None)}
        await worker.runs(0)


async def test_a_batch_for_a_misspelt_model_fails_once_that_can_be_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a worker starts and does not say with what, it is being validated, and no line is run."""
    monkeypatch.setattr(runner, "AGAIN_S", 0.1)
    async with gateway_mesh(FakeWorker()) as mesh, mesh.openai() as client:
        other = FakeWorker(models=()).registered(state=registry_pb2.WORKER_STATE_STARTING)
        other.worker.id = "worker-2"
        mesh.registry.put(other)
        await until_async(
            lambda: mesh.http.post(CHAT, json={**line(1)["body"], "model": "chat-mdel"}),
            "the worker that starts",
            lambda seen: seen.status_code == 503,
        )
        batch = await submit(client, [line(1, model="chat-mdel")])
        known = await over(client, await submit(client, [line(1)]))
        assert known.status == "completed"
        await asyncio.sleep(0.3)
        assert (await client.batches.retrieve(batch.id)).status == "validating"
        mesh.registry.remove("worker-2")
        batch = await over(client, batch)
        assert batch.errors is not None
        assert [each.code for each in batch.errors.data or ()] == ["model_not_found"]


async def test_lines_wait_while_the_mesh_has_no_room() -> None:
    """Refusals are no answers: the lines are asked for again, fewer at once, until all are answered."""
    worker = FakeWorker()
    most = 0

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        nonlocal most
        most = max(most, at.running)
        if at.running > 3:
            raise overloaded("full", 0.01)
        await asyncio.sleep(0.005)
        async for event in say_hello(at, request):
            yield event

    worker.script = script
    async with gateway_mesh(worker, batch_concurrency=8) as mesh, mesh.openai() as client:
        batch = await over(client, await submit(client, [line(n) for n in range(24)]))
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 24, "completed": 24, "failed": 0}
        assert most > 3


async def test_a_full_disk_refuses_a_batch_before_it_is_accepted(mesh: GatewayMesh) -> None:
    """507, and nothing is left of it."""
    async with gateway_mesh(FakeWorker()) as small, small.openai() as client:
        text = json.dumps(line(1)).encode()
        file = await client.files.create(file=("a", text), purpose="batch")
        async with gateway_mesh(FakeWorker(), store=small.store, store_spare_bytes=2**62) as full:
            body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
            reply = await full.http.post("/v1/batches", json=body)
            assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage_full")
        assert (await client.batches.list()).data == []


async def test_another_stores_batch_is_named_as_such(mesh: GatewayMesh) -> None:
    """A gateway that does not share the store says so."""
    async with gateway_mesh(FakeWorker()) as other, other.openai() as client, mesh.openai() as own:
        batch = await submit(client, [line(1)])
        with pytest.raises(openai.NotFoundError, match="another gateway's store"):
            await own.batches.retrieve(batch.id)
