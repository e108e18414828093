"""The models of one worker."""

import asyncio
import threading

import pytest

from inferloom.v1 import inference_pb2, registry_pb2
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.host import HostState, ModelHost
from inferloom_worker.loading import load_model
from inferloom_worker.options import LoadOptions
from inferloom_worker.registration import Registration
from inferloom_worker.served import ServedModel
from inferloom_worker.sources import SourceError


class Loader:
    """Loads echo models, when it is let."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release.set()

    def __call__(self, name: str, spec: str) -> ServedModel:
        """Wait, then load."""
        assert self.release.wait(5)
        return load_model(name, spec, LoadOptions())


async def refusal(host: ModelHost, name: str) -> Reason:
    """Why the host does not give a model."""
    with pytest.raises(InferloomError) as caught:
        host.served(name)
    return caught.value.reason


async def test_models_are_loaded_side_by_side_and_then_served() -> None:
    """Until all are loaded the host is starting; each model is served as soon as it is there."""
    changes: list[HostState] = []
    host = ModelHost(Loader(), lambda: changes.append(host.state))
    await host.start([("b", "echo"), ("a", "echo:tokens=3")])

    assert [model.card.id for model in host.models] == ["a", "b"]
    assert changes == [HostState.STARTING, HostState.STARTING, HostState.READY]
    assert host.generator("a").card.root == "echo:tokens=3"


async def test_a_model_that_is_loading_is_not_unknown() -> None:
    """Its name is answered with UNAVAILABLE, another one with NOT_FOUND; loading it twice is refused."""
    loader = Loader()
    loader.release.clear()
    host = ModelHost(loader)
    loading = asyncio.create_task(host.load("a", "echo"))
    await asyncio.sleep(0)
    assert await refusal(host, "a") is Reason.NO_WORKER
    assert await refusal(host, "b") is Reason.MODEL_NOT_FOUND
    with pytest.raises(InferloomError) as caught:
        await host.load("a", "echo")
    assert caught.value.reason is Reason.ALREADY_EXISTS
    loader.release.set()

    assert (await loading).card.id == "a"


async def test_a_model_that_cannot_be_loaded_leaves_its_name_free() -> None:
    """The error is told, and the next try is a new one."""
    host = ModelHost(Loader())
    with pytest.raises(SourceError, match="no option"):
        await host.load("a", "echo:nonsense=1")

    assert (await host.load("a", "echo")).card.id == "a"


async def test_an_unloaded_model_is_gone_for_new_calls() -> None:
    """At once, while running calls go on until the limit."""
    host = ModelHost(Loader())
    await host.start([("a", "echo")])
    with host.calls.run("a"):
        unloading = asyncio.create_task(host.unload("a", 60))
        await asyncio.sleep(0)
        assert await refusal(host, "a") is Reason.MODEL_NOT_FOUND
        assert not unloading.done()
    await unloading

    with pytest.raises(InferloomError):
        await host.unload("a", 0)


async def test_a_draining_host_takes_nothing_new() -> None:
    """Its models stay, and are not given to new calls."""
    host = ModelHost(Loader())
    await host.start([("a", "echo")])
    assert await host.drain(0) == 0

    assert await refusal(host, "a") is Reason.NO_WORKER
    assert (host.state, len(host.models)) == (HostState.DRAINING, 1)
    await host.close()
    assert not host.models


async def test_a_model_is_asked_only_for_what_it_does() -> None:
    """A generating model gives no embeddings."""
    host = ModelHost(Loader())
    await host.start([("a", "echo")])
    with pytest.raises(InferloomError) as caught:
        host.embedder("a")

    assert caught.value.reason is Reason.UNSUPPORTED_TASK


async def test_a_worker_describes_itself() -> None:
    """Its state, models, capacity and load, and its rate of tokens between two looks."""
    now = 0.0
    host = ModelHost(Loader())
    registration = Registration(host, capacity=7, clock=lambda: now)
    assert (registration.worker().capacity, registration.worker().state) == (
        7,
        registry_pb2.WORKER_STATE_STARTING,
    )
    await host.start([("a", "echo")])
    model = host.generator("a")
    assert registration.load().tokens_per_second == 0
    model.engine.generated = 30  # type: ignore[attr-defined]
    now = 3.0

    assert registration.load().tokens_per_second == 10
    worker = registration.worker()
    assert (worker.capacity, worker.state) == (64, registry_pb2.WORKER_STATE_READY)
    assert list(worker.models[0].tasks) == [inference_pb2.TASK_COMPLETION, inference_pb2.TASK_CHAT]
