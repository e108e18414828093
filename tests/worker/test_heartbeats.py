"""Proof of life: no open request hears nothing for much longer than a second while its engine moves."""

import asyncio

from inferloom_worker.engine.events import Phase, ProgressEvent, TokensEvent
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.echo import EchoEngine
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.sourcing.echo_options import EchoOptions
from tests.worker.engines import request
from tests.worker.test_torch_engine import Clock, CountingModel, entered


async def test_a_sequence_that_waits_to_decode_is_heard_of() -> None:
    """Steps that are full leave it out; it is told once a second that the engine moves."""
    model, clock = CountingModel(), Clock()
    engine = TorchEngine(model, EngineOptions(max_running=3, max_step_tokens=2, speculation="off"), 64, clock)
    model.permits.release()
    first, second = engine.submit(request([1], 200)), engine.submit(request([2], 200))
    third = engine.submit(request([3], 200))
    heard: list[object] = []

    async def listen() -> None:
        async for batch in third.events():
            heard.extend(batch)

    listening = asyncio.create_task(listen())
    for _ in range(12):
        await entered(model)
        clock.now += 0.5
        model.permits.release()
    beats = [event for event in heard if isinstance(event, ProgressEvent)]
    tokens = [event for event in heard if isinstance(event, TokensEvent)]
    assert len(beats) + len(tokens) >= 3
    assert beats
    for each in (first, second, third):
        each.abort()
    model.run_freely()
    await listening
    await asyncio.to_thread(engine.close)


async def test_an_echo_with_long_pauses_is_heard_of_meanwhile() -> None:
    """It keeps the promise that any engine makes."""
    engine = EchoEngine(EchoOptions(delay_ms=2500), EngineOptions(), 256)
    batch = await anext(aiter(engine.submit(request([1], 2)).events()))
    assert list(batch) == [ProgressEvent(Phase.QUEUED, 1)]
