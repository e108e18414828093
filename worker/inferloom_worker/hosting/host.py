"""The models of one worker, by name, and what the worker accepts."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded, shown
from inferloom_mesh.suggestion import model_not_found
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.engine.handover import hand_to_loops
from inferloom_worker.engine.health import Fault
from inferloom_worker.hosting.refusals import not_now, unsupported_task
from inferloom_worker.hosting.running_calls import RunningCalls
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.sourcing.threads import in_background
from inferloom_worker.stepping.longest_step import worth_telling

log = logging.getLogger(__name__)

Load = Callable[[str, str], ServedModel]
"""Loads (name, spec). Blocking; raises SourceError."""

LoadAdapter = Callable[[str, ServedModel, str], ServedModel]
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

    Beside a model there may be variants of it: adapters, whose card names it as ``parent``, and aliases,
    whose card says ``alias_of``. They go with it.

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
        self._expected: set[str] = set()
        """Names that this host was started with."""
        self._aliases: dict[str, str] = {}
        """What it was started with: they come with their models, and come back with them."""
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
        """The loaded models without their variants, in order of name."""
        served = (self._models[name] for name in sorted(self._models))
        return [model for model in served if not _is_variant(model)]

    @property
    def cards(self) -> Sequence[pb.Model]:
        """Everything that requests can name, adapters and aliases included, in order of name."""
        return [self._models[name].card for name in sorted(self._models)]

    @property
    def loading(self) -> Sequence[str]:
        """Names that requests will be able to use, in order."""
        return sorted({*self._expected, *self._loading} - self._models.keys())

    def refresh_cards(self) -> None:
        """Note in the cards how long steps take by now, where that is another story than they tell."""
        for served in self._models.values():
            card, measured = served.card, served.longest_step_s
            told = card.longest_step.ToNanoseconds() / 1e9
            if measured and (not told or worth_telling(told, measured)):
                card.longest_step.CopyFrom(duration(measured))

    async def start(
        self,
        models: Sequence[tuple[str, str]],
        adapters: Sequence[tuple[str, str, str]] = (),
        aliases: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Load models, as (name, spec), side by side, then adapters, as (name, base, spec), then be ready.

        Args:
            models: As above.
            adapters: As above.
            aliases: Further names, as (name, model or adapter).

        Raises:
            SourceError: One of them cannot be loaded.
            InferloomError: An adapter's name is taken, or its base takes no adapter.
        """
        self._aliases = dict(aliases)
        self._expected = {name for name, *_ in (*models, *adapters, *aliases)}
        await asyncio.gather(*(self.load(name, spec) for name, spec in models))
        await asyncio.gather(*(self.load_adapter(*adapter) for adapter in adapters))
        self._expected.clear()
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
            self._serve(served)
        loop = asyncio.get_running_loop()
        served.health.watch(lambda fault: hand_to_loops([fault], lambda _: loop, self._fail))
        self._on_change()
        return served

    async def unload(self, name: str, limit_s: float) -> None:
        """Stop serving a model and its variants, let their calls finish for ``limit_s`` seconds at most, and
        free it. Of an alias only the name goes.

        Raises:
            InferloomError: MODEL_NOT_FOUND; INVALID_ARGUMENT for an adapter.
        """
        served = self._find(name)
        if served.card.parent and not served.card.alias_of:
            raise invalid("model", f"'{name}' is an adapter of the model '{served.card.parent}'.")
        await self._withdraw(served, limit_s)
        await asyncio.to_thread(served.close)

    async def load_adapter(self, name: str, base: str, spec: str) -> ServedModel:
        """Load an adapter of a model and serve it under its own name. Returns the base.

        Raises:
            SourceError: It cannot be loaded, or does not fit.
            InferloomError: MODEL_NOT_FOUND or UNSUPPORTED_TASK for the base; ALREADY_EXISTS, when the name is
                taken; SERVER_OVERLOADED, when the base has as many adapters as it takes.
        """
        served = self._model(base)
        if pb.TASK_COMPLETION not in served.card.tasks:
            raise unsupported_task(base, "take adapters")
        count = len(served.card.adapters) + sum(
            loading == served.card.id for loading in self._loading.values()
        )
        with self._taking(name, "adapter", served.card.id):
            if count >= self._max_adapters:
                raise overloaded(f"The model '{base}' has {count} adapters, as many as it takes; unload one.")
            adapted = await in_background(f"load {name}", partial(self._load_adapter, name, served, spec))
            if self._models.get(served.card.id) is not served:
                raise model_not_found(base, self._models)  # it was unloaded meanwhile
            self._serve(adapted)
        self._list_adapters(served, sorted([*served.card.adapters, name]))
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
                f"The model '{base}' has no adapter '{shown(name)}'.",
                param="adapter",
            )
        self._list_adapters(served, [each for each in served.card.adapters if each != name])
        await self._withdraw(self._models[name], limit_s)

    async def drain(self, limit_s: float) -> int:
        """Take nothing new, let running calls finish for ``limit_s`` seconds at most, then end the rest.

        Returns how many were ended. The models stay loaded.
        """
        if self._state not in (HostState.DRAINING, HostState.FAILED):
            self._state = HostState.DRAINING
            self._on_change()
        return await self.calls.finish(limit_s)

    def check_open(self) -> None:
        """Refuse what starts now while the worker drains or fails.

        Raises:
            InferloomError: NO_WORKER.
        """
        if self._state is HostState.DRAINING:
            raise not_now("The worker is draining.")
        if self._state is HostState.FAILED:
            raise not_now("The worker failed and starts anew.")

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

    def generating(self, name: str) -> ServedModel:
        """As :meth:`served`; UNSUPPORTED_TASK for a model that does not generate."""
        served = self.served(name)
        if not {pb.TASK_COMPLETION, pb.TASK_CHAT}.intersection(served.card.tasks):
            raise unsupported_task(name, "generate text")
        return served

    def embedder(self, name: str) -> TextEmbedder:
        """What embeds for the model of that name; errors as :meth:`served`, and UNSUPPORTED_TASK for a model
        that gives no vectors."""
        embedder = self.served(name).embedder
        if embedder is None:
            raise unsupported_task(name, "give embeddings")
        return embedder

    def _fail(self, faults: list[Fault]) -> None:
        self._state = HostState.FAILED
        self._on_change()
        for fault in faults:
            self._faults.put_nowait(fault)

    def _serve(self, served: ServedModel) -> None:
        """Serve what was loaded under its name, and under further ones that it was to have."""
        self._models[served.card.id] = served
        for alias, of in self._aliases.items():
            if of == served.card.id and alias not in self._models:
                card = pb.Model()
                card.CopyFrom(served.card)
                card.id, card.alias_of = alias, of
                self._models[alias] = served.variant(card)

    async def _withdraw(self, served: ServedModel, limit_s: float) -> None:
        """Stop serving a model and what goes with it, and let their calls finish."""
        gone = [self._models.pop(name) for name in _family(served.card.id, self._models.values())]
        self._on_change()
        await asyncio.gather(*(self.calls.finish(limit_s, each) for each in gone))

    def _list_adapters(self, served: ServedModel, names: Iterable[str]) -> None:
        listed = list(names)
        for each in self._models.values():
            if each is served or (each.card.alias_of == served.card.id):
                each.card.adapters[:] = listed

    @contextmanager
    def _taking(self, name: str, param: str, base: str | None = None) -> Iterator[None]:
        """Keep a name from others while it is loaded."""
        if name in self._models or name in self._loading:
            raise InferloomError(Reason.ALREADY_EXISTS, f"There is a model '{name}' already.", param=param)
        self._loading[name] = base
        if name not in self._expected:
            self._on_change()
        try:
            yield
        finally:
            del self._loading[name]

    def _model(self, name: str) -> ServedModel:
        """A model that is no adapter; an alias stands for its model."""
        served = self._find(name)
        if served.card.alias_of:
            served = self._models[served.card.alias_of]
        if served.card.parent:
            raise invalid("model", f"'{name}' is an adapter of the model '{served.card.parent}'.")
        return served

    def _find(self, name: str) -> ServedModel:
        if name in self._models:
            return self._models[name]
        if name in self.loading:
            raise not_now(f"The model '{name}' is still being loaded.")
        raise model_not_found(name, self._models)


def _is_variant(served: ServedModel) -> bool:
    return bool(served.card.parent or served.card.alias_of)


def _family(name: str, models: Iterable[ServedModel]) -> list[str]:
    """A model's name, and those of all that go with it: its adapters, and the aliases of each."""
    cards = [model.card for model in models]
    adapters = [card.id for card in cards if card.parent == name and not card.alias_of]
    owners = {name, *adapters}
    return [name, *adapters, *(card.id for card in cards if card.alias_of in owners)]
