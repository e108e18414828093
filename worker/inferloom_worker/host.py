"""The models of one worker, by name, and what the worker accepts."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.calls import RunningCalls
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.served import Generator, ServedModel
from inferloom_worker.threads import in_background

log = logging.getLogger(__name__)

Load = Callable[[str, str], ServedModel]
"""Loads (name, spec). Blocking; raises SourceError."""


class HostState(Enum):
    """What a worker accepts."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class ModelHost:
    """Holds the models. Lives on the event loop; loads and closes on threads.

    Args:
        load: Loads one model.
        on_change: Called when the state or the set of models changed.
    """

    def __init__(self, load: Load, on_change: Callable[[], None] = lambda: None) -> None:
        self.calls = RunningCalls()
        self._on_change = on_change
        self._load = load
        self._models: dict[str, ServedModel] = {}
        self._loading: set[str] = set()
        self._state = HostState.STARTING

    @property
    def state(self) -> HostState:
        """What the worker accepts."""
        return self._state

    @property
    def models(self) -> Sequence[ServedModel]:
        """The loaded models, in order of name."""
        return [self._models[name] for name in sorted(self._models)]

    async def start(self, models: Sequence[tuple[str, str]]) -> None:
        """Load (name, spec) pairs side by side, then be ready.

        Raises:
            SourceError: One of them cannot be loaded.
        """
        await asyncio.gather(*(self.load(name, spec) for name, spec in models))
        if self._state is HostState.STARTING:
            self._state = HostState.READY
            self._on_change()

    async def load(self, name: str, spec: str) -> ServedModel:
        """Load a model and serve it.

        Raises:
            SourceError: It cannot be loaded.
            InferloomError: ALREADY_EXISTS, when the name is taken.
        """
        if name in self._models or name in self._loading:
            raise InferloomError(Reason.ALREADY_EXISTS, f"There is a model '{name}' already.", param="model")
        self._loading.add(name)
        try:
            served = await in_background(f"load {name}", partial(self._load, name, spec))
        finally:
            self._loading.discard(name)
        self._models[name] = served
        self._on_change()
        return served

    async def unload(self, name: str, limit_s: float) -> None:
        """Stop serving a model, let its calls finish for ``limit_s`` seconds at most, and free it.

        Raises:
            InferloomError: MODEL_NOT_FOUND.
        """
        served = self._find(name)
        del self._models[name]
        self._on_change()
        await self.calls.finish(limit_s, name)
        await asyncio.to_thread(served.close)

    async def drain(self, limit_s: float) -> int:
        """Take nothing new, let running calls finish for ``limit_s`` seconds at most, then end the rest.

        Returns how many were ended. The models stay loaded.
        """
        if self._state is not HostState.DRAINING:
            self._state = HostState.DRAINING
            self._on_change()
        return await self.calls.finish(limit_s)

    async def close(self) -> None:
        """Free every model."""
        served, self._models = list(self._models.values()), {}
        await asyncio.gather(*(asyncio.to_thread(model.close) for model in served))

    def served(self, name: str) -> ServedModel:
        """The model of that name, for a call that starts now.

        Raises:
            InferloomError: MODEL_NOT_FOUND; NO_WORKER while it is loading, or the worker drains.
        """
        if self._state is HostState.DRAINING:
            raise _not_now("The worker is draining.")
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

    def _find(self, name: str) -> ServedModel:
        if name in self._models:
            return self._models[name]
        if name in self._loading:
            raise _not_now(f"The model '{name}' is still being loaded.")
        raise InferloomError(
            Reason.MODEL_NOT_FOUND, f"The model '{name[:128]}' does not exist.", param="model"
        )


def unsupported_task(name: str, task: str) -> InferloomError:
    """The error for a model that exists and cannot do what was asked."""
    return InferloomError(Reason.UNSUPPORTED_TASK, f"The model '{name}' does not {task}.", param="model")


def _not_now(message: str) -> InferloomError:
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
