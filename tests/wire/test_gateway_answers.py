"""Probes, the root, the documentation, and what clients read from headers and errors."""

from typing import Any

import openai
import orjson
import pytest

from inferloom_worker.validate.generate import ChatPrompt, too_long
from tests.wire.fake_worker import refuse
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
TEXT: dict[str, Any] = {"model": "chat-model", "prompt": "a"}
EMBED: dict[str, Any] = {"model": "org/embedder", "input": ["a", "b"]}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def test_responses_name_the_worker(mesh: GatewayMesh) -> None:
    """Streamed or not, and of embeddings."""
    for path, body in (
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/completions", {**TEXT, "prompt": ["a", "b"]}),
        ("/v1/embeddings", EMBED),
    ):
        assert (await mesh.http.post(path, json=body)).headers["x-inferloom-worker"] == "worker-1"


async def test_the_document_gives_every_operation_typed_answers(mesh: GatewayMesh) -> None:
    """References resolve, errors are described, and FastAPI's own form of error is nowhere."""
    raw = (await mesh.http.get("/openapi.json")).text
    document = orjson.loads(raw)
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            responses = operation["responses"]
            bad = responses["default"]["content"]["application/json"]["schema"]
            assert bad["$ref"].endswith("/ErrorAnswer")
            good = [answer for status, answer in responses.items() if status.startswith("2")]
            assert good or responses.keys() == {"403", "default"}, path  # refused, always
            for answer in good:
                assert all(form["schema"] for form in answer["content"].values()), path
            for answer in responses.values():
                assert "x-request-id" in answer["headers"]
    assert (
        "text/event-stream"
        in document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    )
    assert "HTTPValidationError" not in raw
    named = {part.split('"')[0] for part in raw.split('"#/components/schemas/')[1:]}
    assert named <= set(schemas)


async def test_the_pages_need_no_internet(mesh: GatewayMesh) -> None:
    """/docs lists every endpoint with an example that works, and loads nothing from anywhere."""
    page = await mesh.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "POST /v1/chat/completions" in page.text
    assert f"curl http://{mesh.rest}/v1/completions" in page.text
    assert "src=" not in page.text
    assert page.text.count("http") == page.text.count(f"http://{mesh.rest}")


async def test_the_root_says_what_this_is(mesh: GatewayMesh) -> None:
    """Version, models, and where to go on."""
    root = (await mesh.http.get("/")).json()
    assert root["models"] == ["chat-model", "org/embedder"]
    for link in ("docs", "health", "openapi"):
        assert (await mesh.http.get(root[link])).status_code == 200


async def test_probes_of_other_servers_are_answered(mesh: GatewayMesh) -> None:
    """/health and /ping are readiness."""
    async with gateway_mesh() as empty:
        for path in ("/health", "/ping", "/health/ready"):
            assert (await mesh.http.get(path)).json() == {"status": "ready"}
            assert (await empty.http.get(path)).status_code == 503


async def test_clients_recognise_a_context_that_is_full(mesh: GatewayMesh) -> None:
    """litellm looks for the beginning of the sentence, agents for its numbers, LangChain for the code."""
    mesh.worker.script = refuse(too_long(ChatPrompt.param, 600, 512))
    async with mesh.openai() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**CHAT)
    error = caught.value
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert "this model's maximum context length is 512 tokens" in str(error).lower()
    assert "your messages resulted in 600 tokens. Please reduce the length of the messages." in str(error)
    assert "context_length_exceeded" in str(error.body)
