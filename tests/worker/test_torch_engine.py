"""The engine's life around a model that a test controls: aborts, deadlines, limits and failures."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
import torch

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.events import EndReason, Phase, ProgressEvent, TokensEvent
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch import step_runner
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from inferloom_worker.stepping.scheduler import Scheduler
from tests.patience import PATIENCE_S, until_async
from tests.worker.engines import generate, request
from tests.worker.fake_model import FakeModel


class CountingModel(FakeModel):
    """A model whose next token is its last token plus one; each step waits for a permit."""

    vocab_size = 1000

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.fail = False
        self.poison = -1

    def adapter(self, weights: LoraWeights) -> Adapter:
        """No test here asks for one."""
        raise NotImplementedError

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Wait for a permit, then count, or fail."""
        self.entered.release()
        self.permits.acquire()
        if self.fail or self.poison in batch.token_tensor:
            raise RuntimeError("out of memory")
        following = batch.token_tensor[batch.sample_tensor] + 1
        return torch.nn.functional.one_hot(following, self.vocab_size).float()

    def run_freely(self) -> None:
        """Let every further step pass."""
        self.permits.release(1_000_000)


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def model() -> CountingModel:
    """The model under the engine."""
    return CountingModel()


@pytest.fixture
def clock() -> Clock:
    """The engine's clock."""
    return Clock()


@pytest.fixture
def engine(model: CountingModel, clock: Clock) -> Iterator[TorchEngine]:
    """An engine that runs two sequences and lets two wait."""
    running = TorchEngine(model, EngineOptions(max_running=2, max_waiting=2, max_step_tokens=8), 32, clock)
    yield running
    model.run_freely()
    running.close()


async def entered(model: CountingModel) -> None:
    """Wait until a step is inside the model."""
    assert await asyncio.to_thread(model.entered.acquire, timeout=PATIENCE_S)


async def test_tokens_arrive_in_order_and_end_at_the_limit(engine: TorchEngine, model: CountingModel) -> None:
    """A request yields exactly its tokens, and the end says why."""
    model.run_freely()
    events = [e async for batch in engine.submit(request([10], 3)).events() for e in batch]
    assert [(e.index, e.token_ids, e.end) for e in events if isinstance(e, TokensEvent)] == [
        (0, (11,), None),
        (1, (12,), None),
        (2, (13,), EndReason.LENGTH),
    ]


async def test_a_step_that_only_reads_is_waited_for(
    model: CountingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a device works on its own: what comes next is laid out for it in the same memory, and timed."""
    waits: list[torch.device] = []
    monkeypatch.setattr(step_runner, "wait_for", waits.append)
    engine = TorchEngine(model, EngineOptions(max_step_tokens=16, speculation="off"), kv_blocks=16)
    model.run_freely()
    assert await generate(engine, request(range(40), 2)) == [[40, 41]]
    await asyncio.to_thread(engine.close)

    assert waits == [model.device] * 2  # of the prompt's three parts the last samples


async def test_a_stop_token_ends_a_choice_and_is_its_last(engine: TorchEngine, model: CountingModel) -> None:
    """Generation stops with the stop token included."""
    model.run_freely()
    assert await generate(engine, request([10], 50, stop_token_ids=frozenset({13}))) == [[11, 12, 13]]


async def test_an_abort_frees_the_slot_after_the_current_step(
    engine: TorchEngine, model: CountingModel
) -> None:
    """One step after the abort, the sequence holds no memory and its place is taken by the next."""
    doomed = engine.submit(request([10], 200))
    await entered(model)
    doomed.abort()
    follower = asyncio.create_task(generate(engine, request([20], 1)))
    model.permits.release()  # the step that was running ends
    await entered(model)  # the next step has begun: it is the follower's alone
    assert (engine.load().running, engine.load().waiting) == (1, 0)
    model.run_freely()
    assert await follower == [[21]]
    assert engine.load().free_kv_tokens == 32 * BLOCK_TOKENS
    assert [batch async for batch in doomed.events()] == []


@pytest.fixture
def drafting(model: CountingModel, clock: Clock) -> Iterator[TorchEngine]:
    """An engine that drafts up to four tokens."""
    running = TorchEngine(model, EngineOptions(max_running=2, speculation=4), 32, clock)
    yield running
    model.run_freely()
    running.close()


COUNTED = [11, 12, 13, 14, 15, 16, 70, 11, 12]
"""A prompt whose beginning foresees 13, 14, 15, 16, and wrongly 70."""


async def test_a_step_that_accepts_drafts_is_one_event(drafting: TorchEngine, model: CountingModel) -> None:
    """All tokens that a step makes certain come together, and say what the draft was worth."""
    model.run_freely()
    events = [e async for batch in drafting.submit(request(COUNTED, 6)).events() for e in batch]
    assert events == [
        TokensEvent(0, 0, (13,)),
        TokensEvent(0, 1, (14, 15, 16, 17), accepted=3, rejected=1),
        TokensEvent(0, 5, (18,), end=EndReason.LENGTH),
    ]


async def test_a_stop_token_in_the_middle_of_a_draft_is_the_last(
    drafting: TorchEngine, model: CountingModel
) -> None:
    """What the draft foresaw after it is not told."""
    model.run_freely()
    asked = request(COUNTED, 50, stop_token_ids=frozenset({15}))
    events = [e async for batch in drafting.submit(asked).events() for e in batch]
    assert events[-1] == TokensEvent(0, 1, (14, 15), end=EndReason.STOP_TOKEN, accepted=2, rejected=2)
    assert drafting.load().free_kv_tokens == 32 * BLOCK_TOKENS


async def test_an_abort_while_a_draft_is_checked_frees_everything(
    drafting: TorchEngine, model: CountingModel
) -> None:
    """Blocks that were taken for a draft go too, and a stream beside it gets every token."""
    doomed = drafting.submit(request(COUNTED, 200))
    other = asyncio.create_task(generate(drafting, request(COUNTED, 40)))
    for _ in range(2):  # inside the second step, which checks the drafts
        await entered(model)
        model.permits.release()
    await entered(model)
    doomed.abort()
    model.run_freely()
    assert await other == [list(range(13, 53))]
    assert drafting.load().free_kv_tokens == 32 * BLOCK_TOKENS
    assert [batch async for batch in doomed.events()] == []


async def test_one_choice_can_be_aborted_alone(engine: TorchEngine, model: CountingModel) -> None:
    """The other choices of the request go on to their ends."""
    generation = engine.submit(request([10], 4, n=2))
    generation.abort(0)
    model.run_freely()
    seen = [e async for batch in generation.events() for e in batch if isinstance(e, TokensEvent)]
    assert {e.choice for e in seen} == {1}
    assert seen[-1].end is EndReason.LENGTH


async def test_a_full_queue_refuses(engine: TorchEngine, model: CountingModel) -> None:
    """Beyond the waiting limit a request is refused with a time to come back, and others are unharmed."""
    running = asyncio.create_task(generate(engine, request([10], 2, n=2)))
    await entered(model)
    waiting = asyncio.create_task(generate(engine, request([30], 2, n=2)))
    await asyncio.sleep(0)
    with pytest.raises(InferloomError) as refused:
        engine.submit(request([50], 2))
    assert (refused.value.reason, refused.value.retry_after) == (Reason.SERVER_OVERLOADED, 1.0)
    model.run_freely()
    assert await running == [[11, 12]] * 2
    assert await waiting == [[31, 32]] * 2


async def test_a_deadline_keeps_what_there_is(engine: TorchEngine, model: CountingModel) -> None:
    """After its first token a request that runs out of time ends with a reason of its own, while a step is
    inside of the model."""
    generation = engine.submit(request([10], 100, deadline=2.0))  # of the engine's clock, which stands still
    events = generation.events()
    model.permits.release()
    first = await anext(events)
    await entered(model)
    async with asyncio.timeout(PATIENCE_S):
        rest = [e async for batch in events for e in batch if isinstance(e, TokensEvent)]
    assert isinstance(first[0], TokensEvent)
    assert rest[-1].end is EndReason.DEADLINE
    assert rest[-1].token_ids == ()
    model.run_freely()
    await until_async(engine.load, "an idle engine", lambda load: load.running == 0)


async def test_a_deadline_before_the_first_token_is_an_error(
    engine: TorchEngine, model: CountingModel
) -> None:
    """A request that waited too long fails with TIMEOUT, and waits no more."""
    busy = asyncio.create_task(generate(engine, request([10], 3, n=2)))
    await entered(model)
    late = engine.submit(request([20], 5, deadline=0.05))
    with pytest.raises(InferloomError) as failure:
        await anext(late.events())
    assert failure.value.reason is Reason.TIMEOUT
    model.run_freely()
    assert await busy == [[11, 12, 13]] * 2


async def test_waiting_requests_hear_that_the_engine_moves(
    engine: TorchEngine, model: CountingModel, clock: Clock
) -> None:
    """A long prompt and a queued request get progress about once a second while others compute."""
    long = engine.submit(request(range(30), 1))
    await entered(model)
    clock.now = 1.5
    model.permits.release()
    (progress,) = await anext(long.events())
    assert progress == ProgressEvent(Phase.PREFILL, 8)


async def test_a_failing_step_ends_its_own_requests_only(engine: TorchEngine, model: CountingModel) -> None:
    """The caller gets SERVER_ERROR without internals, and the same engine serves the next request."""
    model.fail = True
    doomed = engine.submit(request([10], 5))
    model.permits.release()
    with pytest.raises(InferloomError) as failure:
        await anext(doomed.events())
    assert (failure.value.reason, "memory" in failure.value.message) == (Reason.SERVER_ERROR, False)
    model.fail = False
    model.run_freely()
    assert await generate(engine, request([10], 2)) == [[11, 12]]


async def test_one_sequence_that_cannot_be_computed_fails_alone(model: CountingModel) -> None:
    """Its neighbours in the step go on, with what they would have said without it."""
    engine = TorchEngine(model, EngineOptions(), 64)
    model.poison = 21
    asking = [asyncio.create_task(generate(engine, request([start], 3, n=2))) for start in (10, 20, 30)]
    await asyncio.sleep(0)
    model.run_freely()
    first, doomed, last = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(doomed, InferloomError)
    assert doomed.reason is Reason.SERVER_ERROR
    assert (first, last) == ([[11, 12, 13]] * 2, [[31, 32, 33]] * 2)
    assert engine.load().running == 0
    engine.close()


async def test_sequences_that_can_never_run_fail_instead_of_waiting(
    engine: TorchEngine, model: CountingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the scheduler find nothing to do while somebody waits, the caller hears of it."""
    monkeypatch.setattr(Scheduler, "schedule", lambda *_: [])
    with pytest.raises(InferloomError) as failure:
        await anext(engine.submit(request([10], 1)).events())
    assert failure.value.reason is Reason.SERVER_ERROR
    monkeypatch.undo()
    model.run_freely()
    assert await generate(engine, request([10], 1)) == [[11]]


async def test_closing_ends_every_request(model: CountingModel) -> None:
    """Running and waiting requests fail with WORKER_LOST, and new ones are refused."""
    engine = TorchEngine(model, EngineOptions(max_running=1, max_waiting=100_000), 32)
    generations = [engine.submit(request([10], 100)) for _ in range(3)]
    await entered(model)
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    async with asyncio.timeout(PATIENCE_S):
        while not refuses(engine):  # noqa: ASYNC110 # there is no event for it, and a test needs none
            await asyncio.sleep(0)
    model.run_freely()
    await closing
    for generation in generations:
        with pytest.raises(InferloomError) as failure:
            _ = [batch async for batch in generation.events()]
        assert failure.value.reason is Reason.WORKER_LOST


def refuses(engine: TorchEngine) -> bool:
    """Whether the engine takes no more requests because it is closed."""
    try:
        engine.submit(request([10], 1)).abort()
    except InferloomError as refusal:
        return refusal.reason is Reason.WORKER_LOST
    return False
