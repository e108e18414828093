"""A client that goes away frees what it held."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import grpc
import httpx
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.worker_pb2 import GetStatusRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_mesh.net import Address
from tests.mesh.conftest import CHAT
from tests.mesh.processes import Mesh, until

LONG = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "Write a very long story about the sea."}],
    "max_tokens": 1500,
    "temperature": 1,
    "ignore_eos": True,  # or a story may be short
}
FREED_LIMIT_S = 10.0
"""Far more than one engine step, far less than the answer takes."""


@pytest.fixture
def slots(demo: Mesh) -> Iterator[Callable[[], int]]:
    """Counts the sequences that hold state on the worker."""
    with grpc.insecure_channel(demo.worker) as channel:
        stub = WorkerServiceStub(channel)

        def count() -> int:
            return sum(model.slots_in_use for model in stub.GetStatus(GetStatusRequest()).models)

        until(lambda: count() == 0, 30, "an idle worker")
        yield count


def test_leaving_a_stream_frees_its_slot(demo: Mesh, slots: Callable[[], int]) -> None:
    """The connection is closed after the first events."""
    with httpx.stream(
        "POST", f"{demo.base_url}/chat/completions", json={**LONG, "stream": True}, timeout=60
    ) as response:
        next(line for line in response.iter_lines() if line.startswith("data:"))
        until(lambda: slots() == 1, 5, "holding a slot")
    until(lambda: slots() == 0, FREED_LIMIT_S, "freeing the slot")


def test_leaving_a_request_that_does_not_stream_frees_its_slot(demo: Mesh, slots: Callable[[], int]) -> None:
    """The client gives up while nothing has been sent to it yet."""
    rest = Address.parse(demo.made["rest"])
    connection = HTTPConnection(rest.host, rest.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", json.dumps(LONG), {"content-type": "application/json"})
    until(lambda: slots() == 1, 20, "holding a slot")
    connection.close()
    until(lambda: slots() == 0, FREED_LIMIT_S, "freeing the slot")


@pytest.mark.parametrize("face", ["grpc", "worker"])
def test_cancelling_a_call_frees_its_slot(demo: Mesh, slots: Callable[[], int], face: str) -> None:
    """Through the gateway and on the worker itself."""
    request = pb.GenerateRequest(
        model=CHAT,
        chat=pb.ChatInput(
            messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Write a long story.")])]
        ),
        stopping=pb.StoppingOptions(max_tokens=1500, ignore_eos=True),
    )
    with grpc.insecure_channel(getattr(demo, face)) as channel:
        call = InferenceServiceStub(channel).Generate(request)
        next(event for event in call if event.HasField("delta"))
        assert slots() == 1
        call.cancel()
        until(lambda: slots() == 0, FREED_LIMIT_S, "freeing the slot")
