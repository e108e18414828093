"""The models of one worker."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from inferloom.v1 import inference_pb2, registry_pb2
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.host import HostState, ModelHost
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.sourcing.sources import SourceError
from tests.patience import PATIENCE_S


class Loader:
    """Loads echo models, and adapters of them that change nothing, when it is let."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release.set()

    def __call__(self, name: str, spec: str) -> ServedModel:
        """Wait, then load."""
        assert self.release.wait(PATIENCE_S)
        return load_model(name, spec, LoadOptions())

    def adapter(self, name: str, base: ServedModel, spec: str) -> ServedModel:
        """Wait, then make one."""
        assert self.release.wait(PATIENCE_S)
        card = inference_pb2.Model(id=name, parent=base.card.id, tasks=base.card.tasks)
        return base.variant(card, Unchanged())


class Unchanged:
    """An adapter of the echo engine."""

    id = 1
    weights_bytes = 0


def make_host(on_change: Callable[[], None] = lambda: None, *, max_adapters: int = 32) -> ModelHost:
    """A host of echo models that load at once."""
    loader = Loader()
    return ModelHost(loader, loader.adapter, on_change, max_adapters=max_adapters)


async def refusal(host: ModelHost, name: str) -> Reason:
    """Why the host does not give a model."""
    with pytest.raises(InferloomError) as caught:
        host.served(name)
    return caught.value.reason


async def test_models_are_loaded_side_by_side_and_then_served() -> None:
    """Until all are loaded the host is starting; each model is served as soon as it is there."""
    changes: list[HostState] = []
    host = make_host(lambda: changes.append(host.state))
    await host.start([("b", "echo"), ("a", "echo:tokens=3")])

    assert [model.card.id for model in host.models] == ["a", "b"]
    assert changes == [HostState.STARTING, HostState.STARTING, HostState.READY]
    assert host.generating("a").card.root == "echo:tokens=3"


async def test_what_will_be_loaded_is_not_unknown_before_loading_begins() -> None:
    """A worker listens before it loads, and may do so under the address of one that was just ended."""
    host = make_host()
    host.expect([("a", "echo")], [("c", "a", "spec")], [("alias", "a")])
    assert [await refusal(host, name) for name in ("a", "c", "alias")] == [Reason.NO_WORKER] * 3
    assert await refusal(host, "b") is Reason.MODEL_NOT_FOUND


async def test_a_model_that_is_loading_is_not_unknown() -> None:
    """Its name is answered with UNAVAILABLE, another one with NOT_FOUND; loading it twice is refused."""
    loader = Loader()
    loader.release.clear()
    host = ModelHost(loader, loader.adapter)
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
    host = make_host()
    with pytest.raises(SourceError, match="no option"):
        await host.load("a", "echo:nonsense=1")

    assert (await host.load("a", "echo")).card.id == "a"


async def test_an_unloaded_model_is_gone_for_new_calls() -> None:
    """At once, while running calls go on until the limit."""
    host = make_host()
    await host.start([("a", "echo")])
    with host.calls.run(host.served("a")):
        unloading = asyncio.create_task(host.unload("a", 60))
        await asyncio.sleep(0)
        assert await refusal(host, "a") is Reason.MODEL_NOT_FOUND
        assert not unloading.done()
    await unloading

    with pytest.raises(InferloomError):
        await host.unload("a", 0)


async def test_a_draining_host_takes_nothing_new() -> None:
    """Its models stay, and are not given to new calls."""
    host = make_host()
    await host.start([("a", "echo")])
    assert await host.drain(0) == 0

    assert await refusal(host, "a") is Reason.NO_WORKER
    assert (host.state, len(host.models)) == (HostState.DRAINING, 1)
    await host.close()
    assert not host.models


async def test_a_model_is_asked_only_for_what_it_does() -> None:
    """A generating model gives no embeddings."""
    host = make_host()
    await host.start([("a", "echo")])
    with pytest.raises(InferloomError) as caught:
        host.embedder("a")

    assert caught.value.reason is Reason.UNSUPPORTED_TASK


async def test_a_worker_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state, models, capacity and load, and its rate of tokens between two looks."""
    now = 0.0
    host = make_host()
    description = SelfDescription(host, capacity=7, clock=lambda: now)
    assert (description.worker().capacity, description.worker().state) == (
        7,
        registry_pb2.WORKER_STATE_STARTING,
    )
    await host.start([("a", "echo")])
    assert description.load().tokens_per_second == 0
    monkeypatch.setattr(Generator, "generated_tokens", 30)
    now = 3.0

    assert description.load().tokens_per_second == 10
    worker = description.worker()
    assert (worker.capacity, worker.state) == (64, registry_pb2.WORKER_STATE_READY)
    assert list(worker.models[0].tasks) == [inference_pb2.TASK_COMPLETION, inference_pb2.TASK_CHAT]


async def test_adapters_are_models_of_their_own() -> None:
    """Each is served and listed under its name, names its base, and leaves the capacity alone."""
    host = make_host()
    await host.start([("a", "echo")], [("y", "a", "folder"), ("x", "a", "folder")])

    assert [(card.id, card.parent) for card in host.cards] == [("a", ""), ("x", "a"), ("y", "a")]
    assert list(host.served("a").card.adapters) == ["x", "y"]
    assert [model.card.id for model in host.models] == ["a"]
    adapted: Any = host.generating("x")
    base: Any = host.generating("a")
    assert adapted.engine is base.engine
    assert SelfDescription(host, capacity=1).worker().capacity == 64


async def code(call: Awaitable[object]) -> tuple[Reason, str | None]:
    """Why a call is refused, and the field at fault."""
    with pytest.raises(InferloomError) as caught:
        await call
    return caught.value.reason, caught.value.param


async def test_an_adapter_that_cannot_be_taken_is_refused() -> None:
    """For its name, its base, or the number of its fellows."""
    host = make_host(max_adapters=1)
    await host.start([("a", "echo"), ("b", "echo")], [("x", "a", "folder")])

    assert await code(host.load_adapter("x", "b", "folder")) == (Reason.ALREADY_EXISTS, "adapter")
    assert await code(host.load_adapter("a", "b", "folder")) == (Reason.ALREADY_EXISTS, "adapter")
    assert await code(host.load("x", "echo")) == (Reason.ALREADY_EXISTS, "model")
    assert await code(host.load_adapter("y", "c", "folder")) == (Reason.MODEL_NOT_FOUND, "model")
    assert await code(host.load_adapter("y", "x", "folder")) == (Reason.INVALID_ARGUMENT, "model")
    assert await code(host.load_adapter("y", "a", "folder")) == (Reason.SERVER_OVERLOADED, None)
    assert await code(host.unload_adapter("y", "a", 0)) == (Reason.MODEL_NOT_FOUND, "adapter")
    assert await code(host.unload_adapter("x", "b", 0)) == (Reason.MODEL_NOT_FOUND, "adapter")
    assert await code(host.unload("x", 0)) == (Reason.INVALID_ARGUMENT, "model")
    assert [card.id for card in host.cards] == ["a", "b", "x"]


async def test_an_unloaded_adapter_is_gone_for_new_calls() -> None:
    """At once, while its running calls go on; its name is free again."""
    host = make_host()
    await host.start([("a", "echo")], [("x", "a", "folder")])
    with host.calls.run(host.served("x")):
        unloading = asyncio.create_task(host.unload_adapter("x", "a", 60))
        await asyncio.sleep(0)
        assert await refusal(host, "x") is Reason.MODEL_NOT_FOUND
        assert not host.served("a").card.adapters
        assert not unloading.done()
    await unloading

    await host.load_adapter("x", "a", "folder")
    assert host.served("x").card.parent == "a"


async def test_adapters_go_with_their_base() -> None:
    """Unloading a model waits for its adapters' calls too."""
    host = make_host()
    await host.start([("a", "echo")], [("x", "a", "folder")])
    with host.calls.run(host.served("x")):
        unloading = asyncio.create_task(host.unload("a", 60))
        await asyncio.sleep(0)
        assert not host.cards
        assert not unloading.done()
    await unloading


async def test_an_adapter_whose_base_went_while_it_loaded_is_not_served() -> None:
    """It is the same as if the base had never been there."""
    loader = Loader()
    host = ModelHost(loader, loader.adapter)
    await host.start([("a", "echo")])
    loader.release.clear()
    loading = asyncio.create_task(host.load_adapter("x", "a", "folder"))
    await asyncio.sleep(0)
    await host.unload("a", 0)
    loader.release.set()

    assert await code(loading) == (Reason.MODEL_NOT_FOUND, "model")
    assert not host.cards
