"""No worker ignores a field of the contract: each changes what a real one answers, or is refused."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format

from inferloom.parameters import FIELDS
from inferloom.v1 import inference_pb2 as pb
from tests.parity.alike import alike
from tests.parity.effects import EFFECTS, TEMPLATE, Effect
from tests.parity.samples import Body
from tests.patience import PATIENCE_S
from tests.wire.adapted_mesh import make_base
from tests.wire.running_worker import RunningWorker, running_worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
METHODS = pb.DESCRIPTOR.services_by_name["InferenceService"].methods_by_name
EXEMPT = {
    "model": "tells who answers",
    "request_id": "names the request",
    "priority": "tells whose turn it is: tests/worker/test_scheduler_turns.py",
    "prompt_cache_key": "the gateway's, by which it chooses a worker",
    "prediction": "costs fewer steps and changes no answer: tests/worker/test_speculative_engine.py",
    "activation": "of cross-encoders: tests/wire/test_worker_rerank.py",
    "add_special_tokens": "of tokenizers that add some: tests/wire/test_worker_tokenizers.py",
    "chat.messages[].parts[].tool_call.id": "for templates that read it: tests/worker/test_template.py",
    "chat.messages[].parts[].tool_result.tool_call_id": "for templates that read it",
    **{
        row.path: "changes nothing but where a request begins: tests/worker/test_resume.py"
        for row in FIELDS
        if row.path.startswith("resume")
    },
}
NOT_RENDERED = ("chat.tool_choice", "chat.parallel_tool_calls", "chat.tools[].strict", "chat.tools[].custom")
"""What changes no tokens of a prompt: for Tokenize it is nothing, as ``rest.textproto`` says."""

CASES = [
    pytest.param(method, effect, id=f"{method}-{path}")
    for method, effects in EFFECTS.items()
    for path, effect in effects.items()
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningWorker]:
    """A tiny model whose template shows all that it gets."""
    folder = make_base(tmp_path_factory.mktemp("base"), max_position_embeddings=2048)
    config = {"bos_token": "<|turn|>", "eos_token": "<|end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    async with running_worker(f"base={folder}", dtype="float32") as running:
        yield running


async def test_every_field_has_its_effect() -> None:
    """What has none yet is named."""
    missing = set()
    for row in FIELDS:
        method = row.request.removesuffix("Request")
        if method not in EFFECTS or row.path in EXEMPT or row.path in EFFECTS[method]:
            continue
        if method != "Tokenize" or not row.path.startswith(NOT_RENDERED):
            missing.add(f"{method}: {row.path}")
    assert missing == set()
    named = [word for reason in EXEMPT.values() for word in reason.split() if word.startswith("tests/")]
    assert all((ROOT / name).exists() for name in named)


async def came_to(worker: RunningWorker, method: str, words: Body) -> Any:
    """What a request comes to, without what differs from call to call."""
    described = METHODS[method]
    request = json_format.ParseDict(words, getattr(pb, described.input_type.name)())
    answer = getattr(worker.stub, method)(request, timeout=PATIENCE_S)
    try:
        responses = [each async for each in answer] if described.server_streaming else [await answer]
    except grpc.aio.AioRpcError as failure:
        return failure.code(), failure.details()
    if method == "Generate":
        return generated(responses, "cacheSalt" in words)
    for response in responses:
        for name in ("timings", "request_id", "started"):
            if name in response.DESCRIPTOR.fields_by_name:
                response.ClearField(name)
        if method == "Embed" and response.HasField("completed"):
            response.completed.ClearField("timings")
    return [json_format.MessageToDict(each) for each in responses]


def generated(events: list[pb.GenerateResponse], salted: bool) -> Any:
    """Of a generation: what each choice has, however it was cut into events, and what it took."""
    choices: dict[int, dict[str, Any]] = {}
    rest: list[Any] = []
    for event in events:
        kind = event.WhichOneof("event") or ""
        told = json_format.MessageToDict(getattr(event, kind))
        if kind == "delta":
            mine = choices.setdefault(told.pop("choice", 0), {})
            told.pop("tokenIndex", None)
            calls = mine.setdefault("toolCalls", {})
            for part in told.pop("toolCalls", ()):
                call = calls.setdefault(part.pop("index", 0), {})
                call["arguments"] = call.get("arguments", "") + part.pop("arguments", "")
                call |= part
            for name, value in told.items():
                mine[name] = mine[name] + value if name in mine else value
        elif kind == "started":
            rest.append(told["promptTokens"])
        elif kind == "completed":
            rest.append([told["usage"].get(name) for name in ("promptTokens", "completionTokens")])
            if salted:
                rest.append(told["usage"].get("cachedPromptTokens"))
        elif kind != "heartbeat":
            rest.append(told)
    return sorted(choices.items()), rest


BASES: dict[str, Any] = {}
"""What the first request of each pair came to; many pairs have the same."""


async def base_of(worker: RunningWorker, method: str, effect: Effect) -> Any:
    """What the request comes to without the change: the same each time, so that the field does it."""
    name = method + json.dumps(effect.base, sort_keys=True)
    if name not in BASES:
        first = await came_to(worker, method, effect.base)
        if "cacheSalt" in effect.change:  # the next one finds what this one left behind
            first = await came_to(worker, method, effect.base)
        again = await came_to(worker, method, effect.base)
        assert alike(again, first), (again, first)
        BASES[name] = first
    return BASES[name]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "effect"), CASES)
async def test_a_field_changes_what_the_worker_answers(
    worker: RunningWorker, method: str, effect: Effect
) -> None:
    """Or is refused."""
    base = await base_of(worker, method, effect)
    assert not alike(await came_to(worker, method, effect.changed), base)
