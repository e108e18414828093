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

from inferloom.v1 import gateway_pb2, link_pb2, registry_pb2, worker_pb2
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S
from tests.registry.running import running_registry
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.random_messages import scribble
from tests.wire.running_worker import error_of, limited, running_worker, text_request

MESSAGES = 25
"""Of each method."""

STREAMS = 30
"""Of frames."""

QUIET_S = 0.15
"""A worker that says nothing for so long has said it."""


INFERENCE = pb.DESCRIPTOR.services_by_name["InferenceService"]
LINK = link_pb2.DESCRIPTOR.services_by_name["LinkService"]
CONTROL = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
REGISTRY = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"]

GATEWAY = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]

ENDLESS = {"Watch", "WatchMesh"}


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


def likely_frame(random: Random) -> link_pb2.AttachRequest:
    """A frame that may be taken, before it is scribbled on: calls of some methods with numbers that are used
    more than once, and what else there is for such numbers."""
    frame = link_pb2.AttachRequest(cancels=[random.randrange(6)] if random.random() < 0.2 else [])
    kinds = {each.name: each for each in link_pb2.StartCall.DESCRIPTOR.oneofs_by_name["request"].fields}
    for _ in range(random.choice((1, 2, 4))):
        start = frame.starts.add(call=random.randrange(6), events=random.choice((1, 64)), bytes=2**18)
        start.context.time_left.seconds = 5
        name = random.choice(("generate", *kinds))
        request: Any = getattr(start, name)
        method = next(each for each in INFERENCE.methods if each.input_type == kinds[name].message_type)
        request.CopyFrom(likely(method, random))
    frame.credits.add(call=random.randrange(6), events=5, bytes=1000)
    return frame


async def attach(channel: grpc.aio.Channel, frames: Sequence[Message]) -> list[link_pb2.CallEnd]:
    """Send frames on a stream of their own; how their calls ended that did before nothing more came."""
    path = f"/{LINK.full_name}/Attach"
    call: Any = channel.stream_stream(
        path,
        request_serializer=lambda frame: frame.SerializeToString(),
        response_deserializer=link_pb2.AttachResponse.FromString,
    )()
    ends: list[link_pb2.CallEnd] = []
    refusal = None
    try:
        await call.read()  # the load, at once
        for frame in frames:
            await call.write(frame)
        while True:
            async with asyncio.timeout(QUIET_S):
                if (answer := await call.read()) is grpc.aio.EOF:
                    await call
                    break
            ends += answer.ends
    except TimeoutError:
        pass
    except grpc.aio.AioRpcError as failure:
        # A client that writes when the stream has just ended hears of its own failure, and not why that was.
        if failure.details() != "Internal error from Core":
            refusal = error_of(failure).reason
    finally:
        call.cancel()
    assert refusal in (None, Reason.INVALID_ARGUMENT), frames
    return ends


@pytest.mark.asyncio
async def test_a_worker_takes_whatever_frames_come() -> None:
    """Calls end with statuses of ours, a frame that no gateway sends ends its own stream, and nothing is left
    running."""
    broken = {code.value[0] for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)}
    codes = set()
    async with running_worker("echo") as worker:
        for number in range(STREAMS):
            random = Random(f"3 {number}")
            parts = random.choice((0.0, 0.03, 0.1, 0.3, 0.8))
            frames = [scribble(likely_frame(random), random, parts) for _ in range(random.choice((1, 3, 8)))]
            ended = {end.code for end in await attach(worker.channel, frames)}
            assert not ended & broken, (number, frames)
            codes |= ended
        assert {0, grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]} <= codes
        assert (await worker.generate(text_request("ok", **limited(2)))).text() == "ok"
        await worker.until(0)


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
        assert Reason.INVALID_ARGUMENT in (await pester(mesh.channel, GATEWAY, seed=3))["GetRequest"]
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
