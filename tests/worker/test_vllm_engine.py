"""The life of vLLM's engine around a backend that a test controls: ends, aborts, deadlines, deaths."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.events import EndReason, Event, ProgressEvent, TokensEvent, VectorEvent
from inferloom_worker.engine.health import Fault
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import EngineInfo, Generation
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.vllm.backend import (
    Backend,
    DeadError,
    LoadedAdapter,
    Named,
    Piece,
    RefusedError,
    StepRecord,
    Timing,
)
from inferloom_worker.engines.vllm.engine import VllmEngine
from inferloom_worker.engines.vllm.translation import Asked
from inferloom_worker.lora.config import AdapterError
from tests.patience import until_async
from tests.worker.engines import request

GREEDY = Sampling(temperature=0.0)
INFO = EngineInfo(
    vocab_size=64, context_length=64, dtype="float32", slots=2, kv_tokens=128, weights_bytes=0, kv_bytes=0
)


class Prompt(list[int]):
    """One that weak references know."""


class Counting:
    """A vLLM whose next token is its last plus one; each step waits to be let."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Queue[Piece | Exception]] = {}
        self.asked: list[Asked] = []
        self.named: list[Named] = []
        self.aborted: list[str] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.dead = False
        self.step_tokens = 0
        self.down = threading.Event()
        self.adapters: list[LoadedAdapter] = []
        self._record: Callable[[StepRecord], None] = lambda _: None

    def start(self) -> "tuple[Backend, EngineInfo]":
        """On the engine's own loop."""
        self.loop = asyncio.get_running_loop()
        return self, INFO

    def watch(self, record: Callable[[StepRecord], None]) -> None:
        """See :class:`Backend`."""
        self._record = record

    def step(self, record: StepRecord, *pieces: Piece | Exception) -> None:
        """Every sequence gets one of these, and the engine is told of the step."""

        def give() -> None:
            for queue, piece in zip(list(self.open.values()), pieces, strict=False):
                queue.put_nowait(piece)
            self._record(record)

        assert self.loop is not None
        self.loop.call_soon_threadsafe(give)

    async def generate(self, asked: Asked, named: Named) -> AsyncIterator[Piece]:
        """See :class:`Backend`."""
        self.asked.append(asked)
        self.named.append(named)
        queue = self.open[named.id] = asyncio.Queue()
        try:
            while True:
                piece = await queue.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.end is not None:
                    return
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(named.id)
            raise
        finally:
            del self.open[named.id]

    async def embed(self, prompt: list[int], named: Named) -> NDArray[np.float32]:
        """See :class:`Backend`."""
        return np.array(prompt, np.float32)

    async def add_adapter(self, adapter: LoadedAdapter) -> None:
        """See :class:`Backend`."""
        raise RefusedError("its modules are strange")

    async def remove_adapter(self, number: int) -> None:
        """See :class:`Backend`."""

    def shutdown(self) -> None:
        """See :class:`Backend`."""
        self.down.set()


@pytest.fixture
def backend() -> Counting:
    """A vLLM."""
    return Counting()


@pytest.fixture
def engine(backend: Counting) -> Iterator[VllmEngine]:
    """The engine around it, with room for one that waits."""
    found = VllmEngine(backend.start, EngineOptions(max_waiting=1), carry=True)
    yield found
    found.close()


async def collect(generation: Generation) -> list[Event]:
    """All events."""
    return [event async for batch in generation.events() for event in batch]


async def test_choices_are_sequences_of_their_own(engine: VllmEngine, backend: Counting) -> None:
    """Their events come in one batch, and what the request cost with them."""
    generation = engine.submit(request([1, 2, 3], 9, n=2, sampling=GREEDY, priority=3, cache_salt="s"))
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 2)
    assert [(named.priority, named.cache_salt) for named in backend.named] == [(3, "s"), (3, "s")]
    backend.step(StepRecord(2, 0, 0.25), Piece((4,)), Piece((5,)))
    await until_async(lambda: len(generation._pending), "as many", lambda count: count == 2)
    backend.step(
        StepRecord(0, 0, 0.0),
        Piece((0,), None, None, "stop", Timing(9, 0.1, 0.2, 0.3)),
        Piece((6,), end="length"),
    )
    found = await collect(generation)
    assert [(e.choice, e.index, e.token_ids) for e in found if isinstance(e, TokensEvent)] == [
        (0, 0, (4,)),
        (1, 0, (5,)),
        (0, 1, (0,)),
        (1, 1, (6,)),
    ]
    stats = generation.stats
    assert (stats.cached_prompt_tokens, stats.queue_s, stats.prefill_s, stats.decode_s) == (3, 0.1, 0.2, 0.3)
    await until_async(engine.load, "an idle engine", lambda load: load.running == 0)
    assert (engine.load().generated_tokens, engine.load().steps) == (4, 2)
    assert 0 < engine.load().longest_step_s < 5


async def test_a_client_that_leaves_frees_its_place_at_once(engine: VllmEngine, backend: Counting) -> None:
    """A choice alone, and then the rest."""
    generation = engine.submit(request([1], 9, n=2, sampling=GREEDY))
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 2)
    generation.abort(1)
    await until_async(lambda: len(backend.aborted), "as many", lambda count: count == 1)
    assert engine.load().running == 1
    generation.abort()
    await until_async(lambda: len(backend.aborted), "as many", lambda count: count == 2)
    await until_async(engine.load, "an idle engine", lambda load: load.running == 0)


async def test_a_deadline_ends_what_has_begun_and_refuses_what_has_not(
    engine: VllmEngine, backend: Counting
) -> None:
    """With what it has, or as too late."""
    now = asyncio.get_running_loop().time()
    begun = engine.submit(request([1], 9, sampling=GREEDY, deadline=now + 0.2))
    waiting = engine.submit(request([1], 9, sampling=GREEDY, deadline=now + 0.2))
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 2)
    backend.step(StepRecord(1, 1, 0.0), Piece((4,)))
    last = (await collect(begun))[-1]
    assert isinstance(last, TokensEvent)
    assert (last.index, last.end) == (1, EndReason.DEADLINE)
    with pytest.raises(InferloomError, match="before the first token") as late:
        await collect(waiting)
    assert late.value.reason is Reason.TIMEOUT
    await until_async(lambda: backend.open, "none", lambda open_: not open_)


async def test_what_has_ended_is_not_kept_until_its_deadline(engine: VllmEngine, backend: Counting) -> None:
    """Its prompt may be long, and its deadline far."""
    asked, prompt = request([], 9, n=2, sampling=GREEDY), Prompt([1])
    gone = weakref.ref(prompt)
    asked = replace(asked, prompt=prompt, deadline=asyncio.get_running_loop().time() + 600)
    running = engine.submit(asked)
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 2)
    backend.step(StepRecord(2, 0, 0.0), *(Piece((4,), end="length") for _ in range(2)))
    await collect(running)
    backend.asked.clear()
    del asked, prompt, running

    def collected() -> bool:
        gc.collect()
        return gone() is None

    await until_async(collected, "its collection")


async def test_a_waiting_request_hears_that_the_engine_moves(engine: VllmEngine, backend: Counting) -> None:
    """About once a second; not where it does not move."""
    waiting = engine.submit(request([1], 9, sampling=GREEDY))
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 1)
    await asyncio.sleep(1.4)
    assert not waiting._pending
    backend.step(StepRecord(1, 0, 0.0))
    await until_async(lambda: waiting._pending, "events")
    assert isinstance(waiting._pending[0], ProgressEvent)


async def test_a_full_queue_refuses(engine: VllmEngine, backend: Counting) -> None:
    """Past two that run and one that waits."""
    for _ in range(3):
        engine.submit(request([1], 9, sampling=GREEDY))
    with pytest.raises(InferloomError) as full:
        engine.submit(request([1], 9, sampling=GREEDY))
    assert full.value.reason is Reason.SERVER_OVERLOADED


async def test_what_vllm_refuses_ends_its_own_request(engine: VllmEngine, backend: Counting) -> None:
    """In its words; and what it fails at is the server's error."""
    for failure, reason in (
        (RefusedError("too odd"), Reason.INVALID_ARGUMENT),
        (RefusedError("full", 503), Reason.SERVER_OVERLOADED),
        (RefusedError("slower", 429), Reason.SERVER_OVERLOADED),
        (RefusedError("too large", 413), Reason.REQUEST_TOO_LARGE),
        (ValueError(), Reason.SERVER_ERROR),
    ):
        generation = engine.submit(request([1], 9, sampling=GREEDY))
        await until_async(lambda: len(backend.open), "as many", lambda count: count == 1)
        backend.step(StepRecord(1, 0, 0.0), failure)
        with pytest.raises(InferloomError) as refused:
            await collect(generation)
        assert refused.value.reason is reason
        assert (refused.value.retry_after is not None) is (reason is Reason.SERVER_OVERLOADED)
        await until_async(lambda: backend.open, "none", lambda open_: not open_)
    assert engine.health.fault is None


@pytest.mark.parametrize("silent", [False, True])
async def test_a_dead_engine_is_the_workers_end(engine: VllmEngine, backend: Counting, silent: bool) -> None:
    """Crash-only: every request is lost, none is taken any more; also where nobody was told of the death."""
    faults: list[Fault] = []
    engine.health.watch(faults.append)
    generation = engine.submit(request([1], 9, sampling=GREEDY))
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 1)
    if silent:
        backend.dead = True
    else:
        backend.step(StepRecord(1, 0, 0.0), DeadError("gone"))
    with pytest.raises(InferloomError) as lost:
        await collect(generation)
    assert lost.value.reason is Reason.WORKER_LOST
    assert [str(fault).partition(" failed")[0] for fault in faults] == ["vLLM's engine"]
    with pytest.raises(InferloomError, match="starts anew"):
        engine.submit(request([1], 9, sampling=GREEDY))


async def test_vectors_end_their_request(engine: VllmEngine) -> None:
    """One for each prompt."""
    (event,) = await collect(engine.submit(request([1, 2], 1, embeds=True)))
    assert isinstance(event, VectorEvent)
    assert event.vector.tolist() == [1.0, 2.0]


async def test_adapters_need_an_engine_that_takes_them(engine: VllmEngine, tmp_path: Path) -> None:
    """The message says how."""
    with pytest.raises(AdapterError, match="enable_lora=true"):
        engine.load_adapter(tmp_path)


async def test_closing_loses_what_runs_and_takes_nothing_more(backend: Counting) -> None:
    """And vLLM is shut down."""
    engine = VllmEngine(backend.start, EngineOptions(), carry=True)
    generation = engine.submit(request([1], 9, sampling=GREEDY))
    await until_async(lambda: len(backend.open), "as many", lambda count: count == 1)
    await asyncio.to_thread(engine.close)
    with pytest.raises(InferloomError, match="unloaded"):
        await collect(generation)
    with pytest.raises(InferloomError, match="unloaded"):
        engine.submit(request([1], 9, sampling=GREEDY))
    assert backend.down.is_set()


def test_an_engine_that_does_not_start_leaves_no_thread() -> None:
    """The reason is told."""

    def start() -> "tuple[Backend, EngineInfo]":
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        VllmEngine(start, EngineOptions(), carry=True)
    assert not any(thread.name == "vllm" for thread in threading.enumerate())


class Slow(Counting):
    """One that takes a second and half a second for each token of a prompt, by its own clock, and more at
    first."""

    def __init__(self, *, pooling: bool) -> None:
        super().__init__()
        self.step_tokens = 100
        self.now = 0.0
        self.prompts: list[list[int]] = []
        self._pooling = pooling

    def start(self) -> "tuple[Backend, EngineInfo]":
        return self, replace(INFO, embedding_dimensions=4 if self._pooling else None)

    async def generate(self, asked: Asked, named: Named) -> AsyncIterator[Piece]:
        self._read(asked.prompt)
        yield Piece((1,), end="length")

    async def embed(self, prompt: list[int], named: Named) -> NDArray[np.float32]:
        self._read(prompt)
        return np.zeros(4, np.float32)

    def _read(self, prompt: list[int]) -> None:
        self.now += 1.0 + (0.5 if self.prompts else 50.0) * len(prompt)
        self.prompts.append(prompt)


@pytest.mark.parametrize("pooling", [False, True])
def test_the_longest_step_is_foreseen(pooling: bool) -> None:
    """Before the first request: from two pieces of what one may read; what does not grow counts once."""
    slow = Slow(pooling=pooling)
    engine = VllmEngine(slow.start, EngineOptions(), carry=True, clock=lambda: slow.now)
    assert engine.load().longest_step_s == pytest.approx(1.0 + 0.5 * 100)
    assert [len(prompt) for prompt in slow.prompts] == [63, 16, 63]
    assert len({prompt[0] for prompt in slow.prompts}) == 3
    engine.close()


@pytest.mark.parametrize("failure", [RefusedError("no such tokens"), ValueError("strange")])
def test_an_engine_that_cannot_be_measured_starts(failure: Exception) -> None:
    """Then only steps that were seen tell."""

    class Refusing(Slow):
        def _read(self, prompt: list[int]) -> None:
            raise failure

    engine = VllmEngine(Refusing(pooling=False).start, EngineOptions(), carry=True)
    assert engine.load().longest_step_s == 0.0
    engine.close()


def test_an_engine_that_ends_while_it_is_measured_leaves_nothing() -> None:
    """Its processes and its memory go, and the load fails."""

    class Dying(Slow):
        def _read(self, prompt: list[int]) -> None:
            raise DeadError("no memory")

    dying = Dying(pooling=False)
    with pytest.raises(DeadError):
        VllmEngine(dying.start, EngineOptions(), carry=True)
    assert dying.down.is_set()
    assert not any(thread.name == "vllm" for thread in threading.enumerate())
