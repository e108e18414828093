"""The models of one worker, by name, and what the worker accepts."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded, shown
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.embed.ranker import Ranker
from inferloom_worker.engine.handover import hand_to_loops
from inferloom_worker.engine.health import Fault
from inferloom_worker.hosting.catalogue import Catalogue
from inferloom_worker.hosting.refusals import not_now, unsupported_task
from inferloom_worker.hosting.running_calls import RunningCalls
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.sourcing.threads import in_background

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
        self._catalogue = Catalogue(on_change)
        self._state = HostState.STARTING
        self._faults: asyncio.Queue[Fault] = asyncio.Queue()

    async def fault(self) -> Fault:
        """Wait until a model breaks, which ends what this host accepts. For one waiter."""
        return await self._faults.get()

    @property
    def state(self) -> HostState:
        """What the worker accepts. While none of its models can be called it starts anew."""
        if self._state is HostState.READY and self._catalogue.all_away:
            return HostState.STARTING
        return self._state

    @property
    def models(self) -> Sequence[ServedModel]:
        """The loaded models without their variants, in order of name."""
        return self._catalogue.models

    @property
    def cards(self) -> Sequence[pb.Model]:
        """Everything that requests can name, adapters and aliases included, in order of name."""
        return self._catalogue.cards

    @property
    def loading(self) -> Sequence[str]:
        """Names that requests will be able to use, in order."""
        return self._catalogue.loading

    def refresh_cards(self) -> None:
        """Note in the cards how long steps take by now, where that is another story than they tell."""
        self._catalogue.refresh_cards()

    def expect(
        self,
        models: Sequence[tuple[str, str]],
        adapters: Sequence[tuple[str, str, str]] = (),
        aliases: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Say what :meth:`start` will be told to load: who asks for it before that hears that it is being
        loaded, and not that it does not exist."""
        self._catalogue.expect((name for name, *_ in (*models, *adapters)), aliases)

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
        self.expect(models, adapters, aliases)
        await asyncio.gather(*(self.load(name, spec) for name, spec in models))
        await asyncio.gather(*(self.load_adapter(*adapter) for adapter in adapters))
        self._catalogue.came()
        if self._state is HostState.STARTING:
            self._state = HostState.READY
            self._on_change()

    async def load(self, name: str, spec: str) -> ServedModel:
        """Load a model and serve it.

        Raises:
            SourceError: It cannot be loaded.
            InferloomError: ALREADY_EXISTS, when the name is taken.
        """
        with self._catalogue.taking(name, "model"):
            served = await in_background(f"load {name}", partial(self._load, name, spec))
            try:
                await served.attend(self._on_change)
            except BaseException:
                await asyncio.to_thread(served.close)
                raise
            self._catalogue.add(served)
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
        served = self._catalogue.find(name)
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
        served = self._catalogue.base(base)
        if pb.TASK_COMPLETION not in served.card.tasks:
            raise unsupported_task(base, "take adapters")
        count = self._catalogue.adapters(served)
        with self._catalogue.taking(name, "adapter", served):
            if count >= self._max_adapters:
                raise overloaded(f"The model '{base}' has {count} adapters, as many as it takes; unload one.")
            adapted = await in_background(f"load {name}", partial(self._load_adapter, name, served, spec))
            self._catalogue.require(base, served)  # it may have been unloaded meanwhile
            self._catalogue.add(adapted)
        self._catalogue.list_adapters(served, [*served.card.adapters, name])
        self._on_change()
        return served

    async def unload_adapter(self, name: str, base: str, limit_s: float) -> None:
        """Stop serving an adapter, and let its calls finish for ``limit_s`` seconds at most. Its memory is
        free when the last of them has gone.

        Raises:
            InferloomError: MODEL_NOT_FOUND, when there is no such base, or no such adapter of it.
        """
        served = self._catalogue.base(base)
        if name not in served.card.adapters:
            raise InferloomError(
                Reason.MODEL_NOT_FOUND,
                f"The model '{base}' has no adapter '{shown(name)}'.",
                param="adapter",
            )
        self._catalogue.list_adapters(served, [each for each in served.card.adapters if each != name])
        await self._withdraw(self._catalogue.find(name), limit_s)

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
        await asyncio.gather(*(asyncio.to_thread(model.close) for model in self._catalogue.clear()))

    def served(self, name: str) -> ServedModel:
        """The model of that name, for a call that starts now.

        Raises:
            InferloomError: MODEL_NOT_FOUND; NO_WORKER while it is loading or away, or the worker drains or
                fails.
        """
        self.check_open()
        served = self._catalogue.find(name)
        if (why := served.away) is not None:
            raise not_now(f"The model '{name}' cannot be used now: {why}")
        return served

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

    def ranker(self, name: str) -> Ranker:
        """What ranks for the model of that name; errors as :meth:`served`, and UNSUPPORTED_TASK for a model
        that neither ranks nor gives vectors."""
        ranker = self.served(name).ranker
        if ranker is None:
            raise unsupported_task(name, "rank documents")
        return ranker

    def _fail(self, faults: list[Fault]) -> None:
        self._state = HostState.FAILED
        self._on_change()
        for fault in faults:
            self._faults.put_nowait(fault)

    async def _withdraw(self, served: ServedModel, limit_s: float) -> None:
        """Stop serving a model and what goes with it, and let their calls finish."""
        gone = self._catalogue.remove(served)
        self._on_change()
        await asyncio.gather(*(self.calls.finish(limit_s, each) for each in gone))
