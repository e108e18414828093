"""A worker's life: health, loading and unloading, draining, and its place in the registry."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2, worker_pb2
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import Reason
from inferloom_mesh.net import Address
from inferloom_registry.service import serve as serve_registry
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.sourcing.sources import SourceError
from tests.patience import PATIENCE_S, within
from tests.wire.running_worker import (
    RunningWorker,
    limited,
    refused,
    running_worker,
    text_request,
)
from tests.wire.standard import health_stub

SLOW = "slow=echo:delay_ms=60000"


async def health(worker: RunningWorker, service: str = "") -> int:
    """What the health service says."""
    stub = health_stub(worker.channel)
    response = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(response.status)


async def test_a_ready_worker_is_healthy_and_describes_itself() -> None:
    """Health as a whole and per service, and reflection as grpcurl uses it."""
    async with running_worker("echo") as worker:
        for service in ("", "inferloom.v1.InferenceService", "inferloom.v1.WorkerService"):
            assert await health(worker, service) == health_pb2.HealthCheckResponse.SERVING
        status = await worker.status()
        with grpc.insecure_channel(str(worker.address)) as channel:
            names = await asyncio.to_thread(lambda: ProtoReflectionDescriptorDatabase(channel).get_services())

    assert {"inferloom.v1.InferenceService", "inferloom.v1.WorkerService"} <= set(names)
    assert status.worker.state == registry_pb2.WORKER_STATE_READY
    assert status.resident_bytes > 0
    assert [model.slots for model in status.models] == [64]


async def test_a_model_is_loaded_and_unloaded_while_others_serve() -> None:
    """It is listed and answers at once, and is unknown at once."""
    async with running_worker("echo") as worker:
        load = worker_pb2.LoadModelRequest(model="two", spec="echo:tokens=2")
        assert (await worker.control.LoadModel(load)).model.id == "two"
        assert (await worker.generate(text_request("abc", model="two"))).text() == "ab"
        assert (await refused(worker.control.LoadModel(load))).reason is Reason.ALREADY_EXISTS

        unload = worker_pb2.UnloadModelRequest(model="two")
        await worker.control.UnloadModel(unload)
        assert (await refused(worker.control.UnloadModel(unload))).reason is Reason.MODEL_NOT_FOUND
        models = (await worker.stub.ListModels(pb.ListModelsRequest())).models
        assert [model.id for model in models] == ["echo"]


@pytest.mark.parametrize(
    ("model", "spec", "param"),
    [
        *(("", "echo", "model"), ("x", "", "spec"), ("a b", "echo", "model"), ("x", "/no/where", "spec")),
        *(("x", "x" * 20_000, "spec"), ("x", "a\0b", "spec"), ("x", "/" + "x" * 300, "spec")),
    ],
)
async def test_a_model_that_cannot_be_loaded_is_the_callers_error(model: str, spec: str, param: str) -> None:
    """With the field at fault, and without all that was sent."""
    async with running_worker("echo") as worker:
        request = worker_pb2.LoadModelRequest(model=model, spec=spec)
        error = await refused(worker.control.LoadModel(request))

    assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, param)
    assert len(error.message) < 500


async def test_a_message_ends_in_one_full_stop(tmp_path: Path) -> None:
    """Also where the words are a library's, and have one already."""
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    async with running_worker("echo") as worker:
        request = worker_pb2.LoadModelRequest(model="m", spec=str(tmp_path))
        error = await refused(worker.control.LoadModel(request))
    assert error.message.endswith(".")
    assert not error.message.endswith("..")


async def test_a_damaged_model_is_the_callers_error_and_nothing_else_breaks(tmp_path: Path) -> None:
    """A file that is cut short, or is something else, is told."""
    damaged = tmp_path / "m.gguf"
    damaged.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 20)
    async with running_worker("echo") as worker:
        request = worker_pb2.LoadModelRequest(model="m", spec=str(damaged))
        assert (await refused(worker.control.LoadModel(request))).param == "spec"
        assert (await worker.generate(text_request("a", **limited(1)))).text() == "a"


async def test_a_draining_worker_finishes_what_runs_and_takes_nothing_new() -> None:
    """New calls are UNAVAILABLE, health says so, and a running stream is complete."""
    async with running_worker("echo=echo:delay_ms=10", drain_limit_s=PATIENCE_S) as worker:
        running = worker.stub.Generate(text_request("abc", **limited(30)))
        assert (await running.read()).WhichOneof("event") == "started"
        draining = asyncio.ensure_future(worker.control.Drain(worker_pb2.DrainRequest()))
        error = await refused(_late(worker))
        rest = [event for event in [await running.read() for _ in range(32)] if event]

        assert (error.reason, error.retry_after) == (Reason.NO_WORKER, 1.0)
        assert rest[-1].completed.usage.completion_tokens == 30
        assert (await draining).ended_requests == 0
        assert await health(worker) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await worker.status()).worker.state == registry_pb2.WORKER_STATE_DRAINING


def _late(worker: RunningWorker) -> object:
    """A call that comes when the drain has begun."""

    async def call() -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await worker.status()).worker.state != registry_pb2.WORKER_STATE_DRAINING:
                pass
        await worker.generate(text_request())

    return call()


async def test_what_outlives_the_drain_limit_is_ended() -> None:
    """With NO_WORKER, which a gateway goes on from elsewhere; running and waiting calls alike."""
    async with running_worker(SLOW, max_running=1) as worker:
        calls = [asyncio.create_task(refused(worker.stub.Generate(text_request(model="slow")))) for _ in "ab"]
        await worker.until(running=1, waiting=1)
        request = worker_pb2.DrainRequest()
        request.limit.FromMilliseconds(0)
        drained = await worker.control.Drain(request)

        assert drained.ended_requests == 2
        assert {(await call).reason for call in calls} == {Reason.NO_WORKER}
        await worker.until(running=0)


async def test_stopping_ends_what_runs_past_the_limit() -> None:
    """The process does not wait for a stream without end."""
    async with running_worker(SLOW) as worker:
        call = asyncio.create_task(refused(worker.stub.Generate(text_request(model="slow"))))
        await worker.until(running=1)
        worker.stop.set()
        await asyncio.wait_for(worker.serving, PATIENCE_S)

        assert (await call).reason is Reason.NO_WORKER


async def test_unloading_ends_the_models_calls() -> None:
    """Other models' calls go on."""
    async with running_worker(SLOW, "other=echo:delay_ms=60000") as worker:
        call = asyncio.create_task(refused(worker.stub.Generate(text_request(model="slow"))))
        other = worker.stub.Generate(text_request(model="other"))
        await worker.until(running=2)
        await worker.control.UnloadModel(worker_pb2.UnloadModelRequest(model="slow"))

        assert (await call).reason is Reason.NO_WORKER
        await worker.until(running=1)
        other.cancel()


async def test_a_worker_without_its_model_does_not_start() -> None:
    """It says which, and nothing is left listening."""
    with pytest.raises(SourceError, match="does not exist"):
        async with running_worker("m=/no/where.gguf"):
            pass


async def test_a_worker_is_in_the_registry_while_it_serves() -> None:
    """READY with its models within a second, a loaded model at once, and gone when it stops."""
    stop = asyncio.Event()
    ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    settings = RegistrySettings(registry_listen=Address("127.0.0.1", 0))
    registry = asyncio.create_task(serve_registry(settings, stop, ready.set_result))
    address = await ready
    async with open_channel(address) as channel:
        stub = RegistryServiceStub(channel)
        watch: Any = stub.Watch(registry_pb2.WatchRequest())
        async with running_worker("echo", registry=str(address), worker_id="w-1") as worker:
            seen = await _until_put(watch, models=["echo"], limit_s=1.0)
            assert (seen.id, seen.address) == ("w-1", str(worker.address))
            load = worker_pb2.LoadModelRequest(model="two", spec="echo")
            await worker.control.LoadModel(load)
            await _until_put(watch, models=["echo", "two"], limit_s=1.0)
        async with asyncio.timeout(PATIENCE_S):
            while (await watch.read()).WhichOneof("change") != "removed":
                pass
        watch.cancel()
    stop.set()
    await registry


async def _until_put(watch: Any, *, models: list[str], limit_s: float) -> registry_pb2.Worker:
    """The worker as the registry knows it once it is ready with these models."""
    async with within(limit_s):
        while True:
            change = await watch.read()
            found = [change.put] if change.HasField("put") else list(change.snapshot.workers)
            for entry in found:
                worker: registry_pb2.Worker = entry.worker
                ready = worker.state == registry_pb2.WORKER_STATE_READY
                if ready and [model.id for model in worker.models] == models:
                    return worker
