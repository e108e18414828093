"""Scripts of workers that answer responses, and the typed events of a stream."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

from inferloom.v1 import inference_pb2 as pb
from tests.wire import sdk_types
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh

MODEL = "chat-model"
PATH = "/v1/responses"


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream: each in the SDK's types, their kinds as their names, numbered without a gap."""
    found = []
    for frame in text.split("\n\n"):
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        fields = dict(line.split(": ", 1) for line in lines)
        document: dict[str, Any] = orjson.loads(fields["data"])
        assert document["type"] == fields["event"]
        assert fields.get("id", str(document["sequence_number"])) == str(document["sequence_number"])
        sdk_types.event(document)
        found.append(document)
    numbers = [event["sequence_number"] for event in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return found


async def streamed(mesh: GatewayMesh, **body: Any) -> list[dict[str, Any]]:
    """The events of a streamed response."""
    answer = await mesh.http.post(PATH, json={"model": MODEL, "stream": True, **body})
    assert answer.status_code == 200, answer.text
    return events_of(answer.text)


async def whole(mesh: GatewayMesh, **body: Any) -> dict[str, Any]:
    """A response in one body."""
    answer = await mesh.http.post(PATH, json={"model": MODEL, **body})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    sdk_types.response(document)
    return document


def logprob(token: str, value: float) -> pb.TokenLogprob:
    """The log-probability of a token that is its own only alternative."""
    top = pb.TopLogprob(token_id=1, logprob=value, token=token, token_bytes=token.encode())
    return pb.TokenLogprob(token_id=1, logprob=value, token=token, token_bytes=token.encode(), top=[top])


async def everything(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Reason, speak, and call two functions."""
    yield started(request, worker.id)
    for word in ("Let me ", "think."):
        yield delta("", reasoning=word)
    yield delta("", logprobs=[logprob("é", -0.5)])
    yield delta("é!", logprobs=[logprob("!", -0.25)])
    yield delta(" Now")
    for index, name in enumerate(("weather", "time-of-day")):
        yield delta("", tool_calls=[pb.ToolCallDelta(index=index, id=f"call_{index}", name=name)])
        for piece in ('{"city": ', '"Paris"}'):
            yield delta("", tool_calls=[pb.ToolCallDelta(index=index, arguments=piece)])
    yield finished(reason=pb.FINISH_REASON_TOOL_CALLS)
    yield completed()


def says(*words: str, reason: pb.FinishReason.ValueType = pb.FINISH_REASON_STOP) -> Any:
    """A script that says some words."""

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        for word in words:
            yield delta(word)
        yield finished(reason=reason)
        yield completed()

    return script
