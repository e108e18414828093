"""What a worker says that it does not do reaches the caller, as a header."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
TEXT: dict[str, Any] = {"model": "chat-model", "prompt": ["a", "b"]}


async def noting(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """An answer with two notes, one of them not of this world."""
    first = started(request)
    first.started.notes.extend(["the format 'x' is not enforced", "ö\r\nx-evil: 1"])
    yield first
    yield delta("{}")
    yield finished()
    yield completed()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body"), [("chat/completions", CHAT), ("completions", TEXT)])
async def test_notes_are_a_header(
    shared_mesh: GatewayMesh, path: str, body: dict[str, Any], stream: bool
) -> None:
    """Each once, and nothing in them ends it."""
    shared_mesh.worker.script = noting
    response = await shared_mesh.http.post(f"/v1/{path}", json={**body, "stream": stream})
    assert response.status_code == 200
    assert response.headers["x-inferloom-notes"] == ("the format 'x' is not enforced; %C3%B6%0D%0Ax-evil: 1")
    assert "x-evil" not in response.headers
