"""Conversations that are longer than their model's context."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.gateway_pb2 import REQUEST_STATE_DONE
from inferloom_mesh.errors import InferloomError, Reason
from tests.wire.access_lines import access_lines
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh
from tests.wire.response_streams import MODEL, PATH, says, streamed, whole
from tests.wire.test_gateway_picture import record_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTEXT = 512
"""Characters: the scripted worker reads each as a token."""


async def bounded(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Refuse more than the context, as workers do."""
    read = sum(len(part.text) for message in request.chat.messages for part in message.parts)
    if read + request.stopping.max_tokens > CONTEXT:
        raise InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, "Too long.", param="chat.messages")
    async for event in says("Yes")(worker, request):
        yield event


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    shared_mesh.worker.script = bounded
    return shared_mesh


def conversation(exchanges: int) -> list[dict[str, Any]]:
    """So many exchanges of 100 characters, numbered, and a question."""
    found = []
    for number in range(exchanges):
        found += [
            {"role": "user", "content": f"{number:<50}"},
            {"role": "assistant", "content": f"{number:<50}"},
        ]
    return [*found, {"role": "user", "content": "?" * 12}]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_oldest_exchanges_are_left_out(mesh: GatewayMesh, stream: bool) -> None:
    """As few as leave room for the answer: 512 - 40 hold instructions, question and four exchanges."""
    body: dict[str, Any] = {
        "input": conversation(9),
        "instructions": "Be brief.",
        "truncation": "auto",
        "max_output_tokens": 40,
    }
    with access_lines() as lines:
        made = (await streamed(mesh, **body))[-1]["response"] if stream else await whole(mesh, **body)
        line = await lines.one()
    assert (line["status"], line["error"]) == (200, None)  # that the first try was too long is nobody's loss
    assert (await record_of(mesh, line["request_id"])).state == REQUEST_STATE_DONE
    assert made["truncation"] == "auto"
    answered = [request for request in mesh.worker.requests if isinstance(request, pb.GenerateRequest)][-1]
    texts = [message.parts[0].text.strip() for message in answered.chat.messages]
    assert texts == ["Be brief.", "5", "5", "6", "6", "7", "7", "8", "8", "?" * 12]
    kept = (await mesh.http.get(f"{PATH}/{made['id']}/input_items", params={"limit": 100})).json()
    assert len(kept["data"]) == 19


async def test_what_fits_is_left_as_it_is(mesh: GatewayMesh) -> None:
    """No tokens are counted for a conversation that a worker takes."""
    await whole(mesh, input=conversation(3), truncation="auto")
    assert [type(request) for request in mesh.worker.requests] == [pb.GenerateRequest]


async def test_without_truncation_too_long_is_an_error(mesh: GatewayMesh) -> None:
    """And with it, where nothing can be left out."""
    for body in (
        {"input": conversation(9)},
        {"input": conversation(9), "truncation": "disabled"},
        {"input": "x" * 600, "truncation": "auto"},
    ):
        answer = await mesh.http.post(PATH, json={"model": MODEL, **body})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        assert answer.json()["error"]["param"] == "input"
