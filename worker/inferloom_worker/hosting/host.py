"""The models of one worker, by name, and what the worker accepts."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.engine.handover import hand_to_loops
from inferloom_worker.engine.health import Fault
from inferloom_worker.hosting.running_calls import RunningCalls
from inferloom_worker.hosting.served import AdaptedGenerator, Generator, ServedModel
from inferloom_worker.sourcing.threads import in_background

log = logging.getLogger(__name__)

Load = Callable[[str, str], ServedModel]
"""Loads (name, spec). Blocking; raises SourceError."""

LoadAdapter = Callable[[str, Generator, str], AdaptedGenerator]
"""Loads (name, base, spec). Blocking; raises SourceError."""


class HostState(Enum):
    """What a worker accepts."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    """A model's own thread broke: what runs on others may finish, and the process ends."""


class ModelHost:
    """Holds the models. Lives on the event loop; loads and closes on threads.

    Args:
        load: Loads one model.
        load_adapter: Loads one adapter.
        on_change: Called when the state or the set of models changed.
        max_adapters: Adapters that a model takes at most.
    """

    def __init__(
        self,
        load: Load,
        load_adapter: LoadAdapter,
        on_change: Callable[[], None] = lambda: None,
        *,
        max_adapters: int = 32,
    ) -> None:
        self.calls = RunningCalls()
        self._on_change = on_change
        self._load = load
        self._load_adapter = load_adapter
        self._max_adapters = max_adapters
        self._models: dict[str, ServedModel] = {}
        self._loading: dict[str, str | None] = {}
        """Names that are being loaded, and the base of an adapter's."""
        self._state = HostState.STARTING
        self._faults: asyncio.Queue[Fault] = asyncio.Queue()

    async def fault(self) -> Fault:
        """Wait until a model breaks, which ends what this host accepts. For one waiter."""
        return await self._faults.get()

    @property
    def state(self) -> HostState:
        """What the worker accepts."""
        return self._state

    @property
    def models(self) -> Sequence[ServedModel]:
        """The loaded models without their adapters, in order of name."""
        served = (self._models[name] for name in sorted(self._models))
        return [model for model in served if not isinstance(model, AdaptedGenerator)]

    @property
    def cards(self) -> Sequence[pb.Model]:
        """Everything that requests can name, adapters included, in order of name."""
        return [self._models[name].card for name in sorted(self._models)]

    async def start(
        self, models: Sequence[tuple[str, str]], adapters: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        """Load models, as (name, spec), side by side, then adapters, as (name, base, spec), then be ready.

        Raises:
            SourceError: One of them cannot be loaded.
            InferloomError: An adapter's name is taken, or its base takes no adapter.
        """
        await asyncio.gather(*(self.load(name, spec) for name, spec in models))
        await asyncio.gather(*(self.load_adapter(*adapter) for adapter in adapters))
        if self._state is HostState.STARTING:
            self._state = HostState.READY
            self._on_change()

    async def load(self, name: str, spec: str) -> ServedModel:
        """Load a model and serve it.

        Raises:
            SourceError: It cannot be loaded.
            InferloomError: ALREADY_EXISTS, when the name is taken.
        """
        with self._taking(name, "model"):
            served = await in_background(f"load {name}", partial(self._load, name, spec))
        self._models[name] = served
        loop = asyncio.get_running_loop()
        served.health.watch(lambda fault: hand_to_loops([fault], lambda _: loop, self._fail))
        self._on_change()
        return served

    async def unload(self, name: str, limit_s: float) -> None:
        """Stop serving a model and its adapters, let their calls finish for ``limit_s`` seconds at most, and
        free it.

        Raises:
            InferloomError: MODEL_NOT_FOUND; INVALID_ARGUMENT for an adapter.
        """
        served = self._model(name)
        gone = [name, *served.card.adapters]
        for each in gone:
            del self._models[each]
        self._on_change()
        await asyncio.gather(*(self.calls.finish(limit_s, each) for each in gone))
        await asyncio.to_thread(served.close)

    async def load_adapter(self, name: str, base: str, spec: str) -> ServedModel:
        """Load an adapter of a model and serve it under its own name. Returns the base.

        Raises:
            SourceError: It cannot be loaded, or does not fit.
            InferloomError: MODEL_NOT_FOUND or UNSUPPORTED_TASK for the base; ALREADY_EXISTS, when the name is
                taken; SERVER_OVERLOADED, when the base has as many adapters as it takes.
        """
        served = self._model(base)
        if not isinstance(served, Generator):
            raise unsupported_task(base, "take adapters")
        count = len(served.card.adapters) + sum(loading == base for loading in self._loading.values())
        with self._taking(name, "adapter", base):
            if count >= self._max_adapters:
                raise overloaded(f"The model '{base}' has {count} adapters, as many as it takes; unload one.")
            adapted = await in_background(f"load {name}", partial(self._load_adapter, name, served, spec))
        if self._models.get(base) is not served:
            raise model_not_found(base)  # it was unloaded meanwhile
        self._models[name] = adapted
        served.card.adapters[:] = sorted([*served.card.adapters, name])
        self._on_change()
        return served

    async def unload_adapter(self, name: str, base: str, limit_s: float) -> None:
        """Stop serving an adapter, and let its calls finish for ``limit_s`` seconds at most. Its memory is
        free when the last of them has gone.

        Raises:
            InferloomError: MODEL_NOT_FOUND, when there is no such base, or no such adapter of it.
        """
        served = self._model(base)
        if name not in served.card.adapters:
            raise InferloomError(
                Reason.MODEL_NOT_FOUND,
                f"The model '{base}' has no adapter '{name[:128]}'.",
                param="adapter",
            )
        del self._models[name]
        served.card.adapters.remove(name)
        self._on_change()
        await self.calls.finish(limit_s, name)

    async def drain(self, limit_s: float) -> int:
        """Take nothing new, let running calls finish for ``limit_s`` seconds at most, then end the rest.

        Returns how many were ended. The models stay loaded.
        """
        if self._state not in (HostState.DRAINING, HostState.FAILED):
            self._state = HostState.DRAINING
            self._on_change()
        return await self.calls.finish(limit_s)

    def _fail(self, faults: list[Fault]) -> None:
        self._state = HostState.FAILED
        self._on_change()
        for fault in faults:
            self._faults.put_nowait(fault)

    def check_open(self) -> None:
        """Refuse what starts now, with NO_WORKER, while the worker drains or fails.

        Raises:
            InferloomError: NO_WORKER.
        """
        if self._state is HostState.DRAINING:
            raise _not_now("The worker is draining.")
        if self._state is HostState.FAILED:
            raise _not_now("The worker failed and starts anew.")

    async def close(self) -> None:
        """Free every model."""
        served, self._models = list(self._models.values()), {}
        await asyncio.gather(*(asyncio.to_thread(model.close) for model in served))

    def served(self, name: str) -> ServedModel:
        """The model of that name, for a call that starts now.

        Raises:
            InferloomError: MODEL_NOT_FOUND; NO_WORKER while it is loading, or the worker drains or fails.
        """
        self.check_open()
        return self._find(name)

    def generator(self, name: str) -> Generator:
        """As :meth:`served`; UNSUPPORTED_TASK for a model that does not generate."""
        served = self.served(name)
        if not isinstance(served, Generator):
            raise unsupported_task(name, "generate text")
        return served

    def embedder(self, name: str) -> TextEmbedder:
        """What embeds for the model of that name; errors as :meth:`served`, and UNSUPPORTED_TASK for a model
        that gives no vectors."""
        embedder = self.served(name).embedder
        if embedder is None:
            raise unsupported_task(name, "give embeddings")
        return embedder

    @contextmanager
    def _taking(self, name: str, param: str, base: str | None = None) -> Iterator[None]:
        """Keep a name from others while it is loaded."""
        if name in self._models or name in self._loading:
            raise InferloomError(Reason.ALREADY_EXISTS, f"There is a model '{name}' already.", param=param)
        self._loading[name] = base
        try:
            yield
        finally:
            del self._loading[name]

    def _model(self, name: str) -> ServedModel:
        """A model that is no adapter."""
        served = self._find(name)
        if isinstance(served, AdaptedGenerator):
            raise invalid("model", f"'{name}' is an adapter of the model '{served.base.card.id}'.")
        return served

    def _find(self, name: str) -> ServedModel:
        if name in self._models:
            return self._models[name]
        if name in self._loading:
            raise _not_now(f"The model '{name}' is still being loaded.")
        raise model_not_found(name)


def model_not_found(name: str) -> InferloomError:
    """The error for a model that is not here."""
    return InferloomError(Reason.MODEL_NOT_FOUND, f"The model '{name[:128]}' does not exist.", param="model")


def unsupported_task(name: str, task: str) -> InferloomError:
    """The error for a model that exists and cannot do what was asked."""
    return InferloomError(Reason.UNSUPPORTED_TASK, f"The model '{name}' does not {task}.", param="model")


def _not_now(message: str) -> InferloomError:
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
