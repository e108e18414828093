"""Messages at random at every call of every service: each answer is one of ours, and the server serves on."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2, registry_pb2, worker_pb2
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import Reason
from tests.registry.running import running_registry
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.random_messages import scribble
from tests.wire.running_worker import error_of, limited, running_worker, text_request

MESSAGES = 25
"""Of each method."""

PATIENCE_S = 20.0
"""A stream that goes on is left after half a second; anything else that takes so long hangs."""

INFERENCE = pb.DESCRIPTOR.services_by_name["InferenceService"]
LINK = link_pb2.DESCRIPTOR.services_by_name["LinkService"]
CONTROL = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
REGISTRY = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"]

ENDLESS = {"Watch"}


def likely(method: MethodDescriptor, random: Random) -> Message:
    """A request that may be taken, before it is scribbled on."""
    request: Any = GetMessageClass(method.input_type)()
    names = {field.name for field in method.input_type.fields}
    if "model" in names and isinstance(getattr(request, "model", None), str):
        request.model = random.choice(("echo", "chat-model"))
    if method.name == "Generate":
        request.MergeFrom(text_request(model=request.model, **limited(3)))
    if method.name == "Register":
        card = pb.Model(id="m", tasks=[pb.TASK_CHAT])
        worker = registry_pb2.Worker(
            id="w", address="10.0.0.1:1", models=[card], state=registry_pb2.WORKER_STATE_READY, capacity=4
        )
        request.worker.CopyFrom(worker)
    return request  # type: ignore[no-any-return] # it is one


async def ask(
    channel: grpc.aio.Channel, method: MethodDescriptor, requests: Sequence[Message]
) -> Reason | None:
    """Call, and read the answer; the error's reason, None if there is none."""
    assert method.containing_service is not None
    path = f"/{method.containing_service.full_name}/{method.name}"
    codec: dict[str, Any] = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }

    async with asyncio.timeout(PATIENCE_S):
        try:
            if method.client_streaming:
                call: Any = channel.stream_stream(path, **codec)()
                for (
                    request
                ) in requests:  # one by one: what it cannot send any more gets a status of the client
                    await call.write(request)
                    if await call.read() is grpc.aio.EOF:
                        break
                call.cancel()
                return None
            if method.server_streaming:
                call = channel.unary_stream(path, **codec)(requests[0])
            else:
                await channel.unary_unary(path, **codec)(requests[0])
                return None
            try:
                async with asyncio.timeout(0.5 if method.name in ENDLESS else PATIENCE_S):
                    async for _ in call:
                        pass
            except TimeoutError:
                assert method.name in ENDLESS
                call.cancel()
        except grpc.aio.AioRpcError as failure:
            return error_of(failure).reason
    return None


async def pester(
    channel: grpc.aio.Channel, service: ServiceDescriptor, *, but: Sequence[str] = (), seed: int = 0
) -> dict[str, set[Reason | None]]:
    """Ask each method many times; what it answered."""
    answers: dict[str, set[Reason | None]] = {}
    for method in service.methods:
        if method.name in but:
            continue
        random = Random(f"{seed} {method.full_name}")
        for number in range(3 if method.name in ENDLESS else MESSAGES):
            requests = [
                scribble(likely(method, random), random, random.choice((0.03, 0.1, 0.3, 0.8)))
                for _ in range(random.choice((1, 1, 2, 4)) if method.client_streaming else 1)
            ]
            try:
                reason = await ask(channel, method, requests)
            except (AssertionError, TimeoutError) as fault:
                raise AssertionError(f"{method.name}, message {number}: {requests}") from fault
            assert reason is not Reason.SERVER_ERROR, (method.name, number, requests)
            answers.setdefault(method.name, set()).add(reason)
    return answers


@pytest.mark.asyncio
async def test_a_worker_answers_whatever_it_is_asked() -> None:
    """Requests, and what operators ask; nothing is left running, and the next request is fine."""
    async with running_worker("echo") as worker:
        answers = await pester(worker.channel, INFERENCE)
        assert Reason.INVALID_ARGUMENT in answers["Generate"]
        assert None in answers["Generate"]
        # Drain ends the worker, and models are fetched from wherever a name says.
        await pester(worker.channel, CONTROL, but=("Drain", "LoadModel", "UnloadModel"))
        assert (await worker.generate(text_request("ok", **limited(2)))).text() == "ok"
        await worker.until(0)


@pytest.mark.asyncio
async def test_a_gateway_answers_whatever_it_is_asked() -> None:
    """By gRPC."""
    async with gateway_mesh(FakeWorker("a")) as mesh:
        answers = await pester(mesh.channel, INFERENCE, seed=1)
        assert Reason.MODEL_NOT_FOUND in answers["Generate"]
        body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await mesh.http.post("/v1/chat/completions", json=body)).status_code == 200


@pytest.mark.asyncio
async def test_a_registry_answers_whatever_it_is_asked() -> None:
    """And keeps its set of workers."""
    async with running_registry() as address, open_channel(address) as channel:
        answers = await pester(channel, REGISTRY, seed=2)
        assert Reason.INVALID_ARGUMENT in answers["Register"]
        listed = REGISTRY.methods_by_name["ListWorkers"]
        assert await ask(channel, listed, [registry_pb2.ListWorkersRequest()]) is None
