"""A client that goes away frees what it held."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import grpc
import httpx
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.worker_pb2 import GetStatusRequest, GetStatusResponse
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_mesh.net import Address
from tests.mesh.conftest import CHAT
from tests.mesh.processes import Mesh
from tests.patience import PATIENCE_S, until

TOKENS = 8000
"""As many as fit: an answer that takes far longer than any machine stands still."""
LONG = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "Write a very long story about the sea."}],
    "max_tokens": TOKENS,
    "temperature": 1,
    "ignore_eos": True,  # or a story may be short
}


@dataclass(frozen=True, slots=True)
class Slots:
    """The sequences that hold state on the worker, and what it logs of calls that have ended."""

    mesh: Mesh
    stub: Any

    def taken(self, count: int, what: str) -> None:
        """Wait until so many slots are in use."""

        def used(seen: GetStatusResponse) -> bool:
            return sum(model.slots_in_use for model in seen.models) == count

        until(lambda: self.stub.GetStatus(GetStatusRequest(), timeout=PATIENCE_S), what, used)

    def freed(self, request_id: str) -> None:
        """Wait until none is; the request with this id has not come to its end."""
        self.taken(0, "freeing the slot")
        file = self.mesh.folder / "logs" / "worker-1.log"
        [line] = until(
            lambda: [line for line in file.read_text().splitlines() if f"request_id={request_id}" in line],
            f"a line of {request_id}",
        )
        assert "error=cancelled" in line


@pytest.fixture
def slots(demo: Mesh) -> Iterator[Slots]:
    """Of a worker that does nothing yet."""
    with grpc.insecure_channel(demo.worker) as channel:
        found = Slots(demo, WorkerServiceStub(channel))
        found.taken(0, "an idle worker")
        yield found


def test_leaving_a_stream_frees_its_slot(demo: Mesh, slots: Slots) -> None:
    """The connection is closed after the first events."""
    with httpx.stream(
        "POST",
        f"{demo.base_url}/chat/completions",
        json={**LONG, "stream": True},
        headers={"x-request-id": "left-a-stream"},
        timeout=PATIENCE_S,
    ) as response:
        first = next(line for line in response.iter_lines() if line.startswith("data:"))
        assert "error" not in first
        slots.taken(1, "holding a slot")
    slots.freed("left-a-stream")


def test_leaving_a_request_that_does_not_stream_frees_its_slot(demo: Mesh, slots: Slots) -> None:
    """The client gives up while nothing has been sent to it yet."""
    rest = Address.parse(demo.made["rest"])
    connection = HTTPConnection(rest.host, rest.port, timeout=PATIENCE_S)
    headers = {"content-type": "application/json", "x-request-id": "left-alone"}
    connection.request("POST", "/v1/chat/completions", json.dumps(LONG), headers)
    slots.taken(1, "holding a slot")
    connection.close()
    slots.freed("left-alone")


@pytest.mark.parametrize("face", ["grpc", "worker"])
def test_cancelling_a_call_frees_its_slot(demo: Mesh, slots: Slots, face: str) -> None:
    """Through the gateway and on the worker itself."""
    request = pb.GenerateRequest(
        model=CHAT,
        request_id=f"cancelled-by-{face}",
        chat=pb.ChatInput(
            messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Write a long story.")])]
        ),
        stopping=pb.StoppingOptions(max_tokens=TOKENS, ignore_eos=True),
    )
    with grpc.insecure_channel(getattr(demo, face)) as channel:
        call = InferenceServiceStub(channel).Generate(request)
        next(event for event in call if event.HasField("delta"))
        slots.taken(1, "holding a slot")
        call.cancel()
        slots.freed(request.request_id)
