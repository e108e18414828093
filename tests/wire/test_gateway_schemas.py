"""What the OpenAPI document says of the answers is what is sent."""

import asyncio
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema import answers, completion_answers, service_answers, stored
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
TEXT: dict[str, Any] = {"model": "chat-model", "prompt": "a"}
EMBED: dict[str, Any] = {"model": "org/embedder", "input": ["a", "b"]}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def everything(worker: object, request: pb.GenerateRequest) -> Any:
    """A choice with all that a choice can have."""
    top = [pb.TopLogprob(token_id=1, logprob=-0.5, token="é", token_bytes="é".encode())]
    entry = pb.TokenLogprob(token_id=1, logprob=-0.5, token="é", token_bytes="é".encode(), top=top)
    yield started(request, "w1")
    first = pb.TokenLogprob(token_id=5, token_bytes=b"a")
    yield pb.GenerateResponse(prompt=pb.Prompt(token_ids=[5, 1], logprobs=[first, entry]))
    if request.WhichOneof("input") == "chat":
        yield delta("", reasoning="hm")
        call = pb.ToolCallDelta(index=0, id="c", name="f", arguments="{")
        yield delta("", tool_calls=[call])
        yield delta("", tool_calls=[pb.ToolCallDelta(index=0, arguments="}")])
    yield delta("é", logprobs=[entry])
    yield delta("e")
    yield finished()
    yield completed()


def is_a(model: type[BaseModel], raw: bytes | str) -> None:
    """Fails unless the JSON has the model's fields and no others."""
    model.model_validate(orjson.loads(raw))


def events(text: str) -> list[str]:
    """The data of each event but the last."""
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return lines[:-1]


async def test_every_answer_is_what_its_schema_says(mesh: GatewayMesh) -> None:
    """Bodies, events and errors: no field that is not described, none missing."""
    mesh.worker.script = everything
    for path, body, whole, chunk in (
        (
            "/v1/chat/completions",
            {**CHAT, "logprobs": True, "return_token_ids": True},
            completion_answers.ChatCompletion,
            completion_answers.ChatCompletionChunk,
        ),
        (
            "/v1/completions",
            {**TEXT, "logprobs": 1, "return_token_ids": True, "echo": True},
            completion_answers.TextCompletion,
            completion_answers.TextCompletion,
        ),
    ):
        is_a(whole, (await mesh.http.post(path, json=body)).content)
        is_a(whole, (await mesh.http.post(path, json={**body, "prompt_logprobs": 1})).content)
        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        for event in events((await mesh.http.post(path, json=streamed)).text):
            is_a(chunk, event)
    is_a(answers.EmbeddingList, (await mesh.http.post("/v1/embeddings", json=EMBED)).content)
    is_a(service_answers.ModelList, (await mesh.http.get("/v1/models")).content)
    is_a(service_answers.ModelCard, (await mesh.http.get("/v1/models/chat-model")).content)
    is_a(service_answers.TokenizeAnswer, (await mesh.http.post("/tokenize", json=TEXT)).content)
    detokenize = {"model": "chat-model", "tokens": [97]}
    is_a(service_answers.DetokenizeAnswer, (await mesh.http.post("/detokenize", json=detokenize)).content)
    is_a(service_answers.Version, (await mesh.http.get("/version")).content)
    is_a(answers.ErrorAnswer, (await mesh.http.post("/v1/completions", json={})).content)


async def test_every_stored_thing_is_what_its_schema_says(mesh: GatewayMesh) -> None:
    """Files, batches at each stage, and kept completions."""
    mesh.worker.script = everything
    http = mesh.http
    body = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    for text in (orjson.dumps(body), b"{"):
        uploaded = await http.post("/v1/files", data={"purpose": "batch"}, files={"file": text})
        is_a(stored.FileObject, uploaded.content)
        asked = {"endpoint": body["url"], "completion_window": "24h", "metadata": {"a": "b"}}
        made = await http.post("/v1/batches", json={**asked, "input_file_id": uploaded.json()["id"]})
        is_a(stored.Batch, made.content)
        async with asyncio.timeout(PATIENCE_S):
            while made.json()["status"] not in ("completed", "failed"):
                await asyncio.sleep(0.02)
                made = await http.get(f"/v1/batches/{made.json()['id']}")
                is_a(stored.Batch, made.content)
    is_a(stored.FileList, (await http.get("/v1/files")).content)
    is_a(stored.FileDeleted, (await http.delete(f"/v1/files/{uploaded.json()['id']}")).content)
    is_a(stored.BatchList, (await http.get("/v1/batches")).content)
    kept = (await http.post("/v1/chat/completions", json={**CHAT, "store": True})).json()["id"]
    at = f"/v1/chat/completions/{kept}"
    is_a(stored.StoredChatCompletion, (await http.get(at)).content)
    is_a(stored.StoredChatCompletion, (await http.post(at, json={"metadata": {"a": "b"}})).content)
    is_a(stored.StoredChatList, (await http.get("/v1/chat/completions")).content)
    is_a(stored.StoredMessageList, (await http.get(f"{at}/messages")).content)
    is_a(stored.StoredChatDeleted, (await http.delete(at)).content)
    for empty in ("/v1/chat/completions", "/v1/files?purpose=fine-tune"):
        is_a(stored.Listed, (await http.get(empty)).content.replace(b'"data":[],', b""))
