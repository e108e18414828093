"""The OpenAPI document describes every endpoint, and what is described is what is answered."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from tests.wire import documented, sdk_types
from tests.wire.fake_worker import CHAT, EMBEDDER, FakeWorker, embed
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHATTING = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Hi"}]}

OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, method, operation in documented.operations()
]


def named(name: str, card: pb.Model) -> pb.Model:
    """A card under another name."""
    made = pb.Model()
    made.CopyFrom(card)
    made.id = name
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> Any:
    """A gateway whose worker has the models of the document's examples."""
    models = (named("smollm2-135m-instruct", CHAT), named("all-minilm-l6-v2", EMBEDDER))
    async with gateway_mesh(FakeWorker(models=models)) as running:
        yield running


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
async def test_every_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    """In words, with the form of its body, of its answers and of its errors, whose schemas are there."""
    assert operation["description"], "no docstring"
    errors = operation["responses"]["default"]["content"]["application/json"]["schema"]
    assert errors == {"$ref": "#/components/schemas/ErrorAnswer"}
    whole = orjson.dumps(operation).decode()
    schemas = documented.document()["components"]["schemas"]
    for name in re.findall('"#/components/schemas/([^"]+)"', whole):
        assert name in schemas
    parameters = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    assert parameters == set(re.findall(r"{(\w+)}", path))
    if method == "post" and not path.endswith("/cancel"):
        assert operation["requestBody"]["content"]


EXAMPLES = [
    pytest.param(path, media, example["value"], id=f"{path} {name}")
    for path, method, operation in documented.operations()
    if method == "post"
    for media, form in operation.get("requestBody", {}).get("content", {}).items()
    for name, example in form.get("examples", {}).items()
    if "{" not in path
]


@pytest.mark.parametrize(("path", "media", "example"), EXAMPLES)
async def test_every_example_is_answered_as_described(
    mesh: GatewayMesh, path: str, media: str, example: Any
) -> None:
    """Its body fits its schema, and so does the answer, or each event of it but the last."""
    described = documented.operation("POST", path)
    assert described is not None
    documented.holds(described["requestBody"]["content"][media]["schema"], example)
    if "input_file_id" in example:  # one of those that there are
        line = {"custom_id": "a", "method": "POST", "url": example["endpoint"], "body": CHATTING}
        form: Any = {"files": {"file": ("lines.jsonl", orjson.dumps(line))}, "data": {"purpose": "batch"}}
        example = {**example, "input_file_id": (await mesh.http.post("/v1/files", **form)).json()["id"]}
    answer = await mesh.http.post(path, content=orjson.dumps(example), headers={"content-type": media})
    assert answer.status_code == 200, answer.text
    form = answer.headers["content-type"].partition(";")[0]
    schema = documented.schema_of(described, 200, form)
    if form == "application/json":
        documented.holds(schema, answer.json())
        return
    events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert events
    schema = schema["properties"]["data"]["anyOf"][1]["contentSchema"]
    for event in events:
        if event != "[DONE]":
            documented.holds(schema, orjson.loads(event))
            if path in sdk_types.EVENTS:
                sdk_types.strictly(sdk_types.EVENTS[path], orjson.loads(event))


async def test_the_headers_that_are_sent_are_described(mesh: GatewayMesh) -> None:
    """Those that are ours."""
    described = documented.document()["components"]["headers"]
    body = {"model": "all-minilm-l6-v2", "input": "a", "nonsense": 1}
    for answer in (await mesh.http.post("/v1/embeddings", json=body), await mesh.http.get("/v1/nothing")):
        ours = {name for name in answer.headers if name.startswith("x-")}
        assert ours <= described.keys()
        assert "x-request-id" in ours


IGNORED_CHECKS = "positive_data_acceptance"
"""Rules between fields, such as that one of two must be there, are in words and not in the schemas."""


@pytest.mark.slow
@pytest.mark.timeout(450)
async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """No status from 500 on, and no answer that is not as described, whatever is sent."""

    async def vectors(worker: FakeWorker, request: pb.EmbedRequest) -> Any:
        yield pb.EmbedResponse(started=pb.EmbedStarted(model=request.model, worker_id=worker.id))
        yield pb.EmbedResponse(part=pb.EmbedPart(embeddings=embed(request.inputs)))
        yield pb.EmbedResponse(completed=pb.EmbedCompleted(usage=pb.Usage(prompt_tokens=2)))

    models = (named("smollm2-135m-instruct", CHAT), named("all-minilm-l6-v2", EMBEDDER))
    async with gateway_mesh(FakeWorker(models=models, embed_script=vectors)) as mesh:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"http://{mesh.rest}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "6", "--seed", "7"),
            *("--exclude-checks", IGNORED_CHECKS, "--request-timeout", "20", "--no-color"),
            *("--suppress-health-check", "all"),
        ]
        run = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
        )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "Tested: " in run.stdout
