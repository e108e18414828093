"""The echo engine."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.events import EndReason, Event, ProgressEvent, TokensEvent
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.engines.echo import EchoEngine
from inferloom_worker.sourcing.echo_options import EchoOptions
from tests.patience import PATIENCE_S
from tests.worker.engines import generate, request


def echo(spec: str = "echo", *, running: int = 4, waiting: int = 8, **fields: Any) -> EchoEngine:
    """An engine."""
    options = EngineOptions(max_running=running, max_waiting=waiting)
    return EchoEngine(EchoOptions.parse(spec), options, 258, **fields)


async def first(generation: Generation) -> Sequence[Event]:
    """The first batch of events."""
    return await anext(aiter(generation.events()))


async def ends(generation: Generation) -> list[EndReason]:
    """Why each choice ended."""
    return [
        e.end async for batch in generation.events() for e in batch if isinstance(e, TokensEvent) and e.end
    ]


async def test_the_prompt_comes_back_over_and_over() -> None:
    """Token i is the prompt's token i, for every choice, up to the most tokens."""
    assert await generate(echo(), request([1, 2, 3], 7, n=2)) == [[1, 2, 3, 1, 2, 3, 1]] * 2


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("echo", [64, 6]),
        ("echo:delay_ms=0.01", [1] * 70),
        ("echo:chunk=30", [30, 30, 10]),
        ("echo:chunk=99,delay_ms=0.01", [70]),
    ],
)
async def test_tokens_are_handed_over_together(spec: str, expected: list[int]) -> None:
    """As many as are told; else one after each delay, and what is ready where there is none."""
    generation = echo(spec).submit(request([1], 70))

    assert expected == [len(batch[0].token_ids) async for batch in generation.events()]  # type: ignore[union-attr]


async def test_a_stop_token_ends_a_choice_after_its_least_tokens() -> None:
    """The stop token is the last; one that comes too early is ordinary."""
    engine = echo("echo:chunk=8")

    assert await generate(engine, request([1, 2], 8, stop_token_ids=frozenset({2}))) == [[1, 2]]
    asked = request([1, 2], 8, stop_token_ids=frozenset({2}), min_tokens=3)
    assert await generate(engine, asked) == [[1, 2, 1, 2]]
    assert await ends(engine.submit(asked)) == [EndReason.STOP_TOKEN]


async def test_the_option_tokens_bounds_every_answer() -> None:
    """As a model that stops early would."""
    generation = echo("echo:tokens=2").submit(request([1], 100))

    assert await ends(generation) == [EndReason.LENGTH]


async def test_an_aborted_request_frees_its_slot_at_once() -> None:
    """Aborting one choice frees one, aborting all frees all, and what waits comes in."""
    engine = echo("echo:delay_ms=60000", running=2)
    running, waiting = engine.submit(request([1], 9, n=2)), engine.submit(request([1], 9))
    assert (engine.load().running, engine.load().waiting) == (2, 1)

    running.abort(0)
    assert (engine.load().running, engine.load().waiting) == (2, 0)
    running.abort()
    waiting.abort()
    assert (engine.load().running, engine.load().waiting) == (0, 0)
    assert [batch async for batch in running.events()] == []


async def test_what_waits_can_be_aborted() -> None:
    """It leaves the queue, and its reader's loop ends."""
    engine = echo("echo:delay_ms=60000", running=1)
    engine.submit(request([1], 9))
    waiting = engine.submit(request([1], 9))
    reading = asyncio.create_task(ends(waiting))
    await asyncio.sleep(0)
    waiting.abort()

    assert await asyncio.wait_for(reading, PATIENCE_S) == []
    assert engine.load().waiting == 0


async def test_a_full_queue_refuses() -> None:
    """Past the bound the answer is SERVER_OVERLOADED, and an ended request makes room."""
    engine = echo("echo:delay_ms=60000", running=1, waiting=1)
    running = engine.submit(request([1], 9))
    engine.submit(request([1], 9))
    with pytest.raises(InferloomError) as caught:
        engine.submit(request([1], 9))
    assert caught.value.reason is Reason.SERVER_OVERLOADED

    running.abort()
    assert isinstance(engine.submit(request([1], 9)).stats.queue_s, float)


async def test_a_deadline_keeps_what_there_is() -> None:
    """Past it an open choice ends with its reason; before the first token it is an error."""
    engine = echo("echo:delay_ms=50")
    now = time.monotonic()
    begun = await ends(engine.submit(request([1], 900, deadline=now + 2.0)))
    with pytest.raises(InferloomError) as caught:
        await first(engine.submit(request([1], 9, deadline=now)))

    assert begun == [EndReason.DEADLINE]
    assert caught.value.reason is Reason.TIMEOUT
    assert engine.load().running == 0


async def test_a_waiting_request_shows_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """It beats while there is no slot."""
    monkeypatch.setattr("inferloom_worker.engines.echo.HEARTBEAT_S", 0.01)
    engine = echo("echo:delay_ms=60000", running=1)
    engine.submit(request([1], 9))

    assert isinstance((await first(engine.submit(request([1], 9))))[0], ProgressEvent)


async def test_closing_ends_every_request() -> None:
    """Running and waiting ones fail with WORKER_LOST, and so does a new one."""
    engine = echo(running=1)
    running, waiting = engine.submit(request([1], 900)), engine.submit(request([1], 9))
    reading = asyncio.create_task(ends(waiting))
    await first(running)
    other = engine.submit(request([1], 900))
    engine.close()

    for lost in (reading, asyncio.create_task(ends(other))):
        with pytest.raises(InferloomError) as caught:
            await lost
        assert caught.value.reason is Reason.WORKER_LOST
    with pytest.raises(InferloomError):
        engine.submit(request([1], 9))


@pytest.mark.parametrize("spec", ["echo:speed=1", "echo:tokens=0", "echo:delay_ms=nan", "echo:chunk=x"])
def test_an_unknown_option_is_told(spec: str) -> None:
    """With the options that there are."""
    with pytest.raises(ValueError, match="delay_ms"):
        EchoOptions.parse(spec)


def test_options_are_read() -> None:
    """Several are parted by commas."""
    assert EchoOptions.parse("echo:delay_ms=1.5,tokens=3") == EchoOptions(delay_ms=1.5, tokens=3)
    assert EchoOptions.parse("echo") == EchoOptions()
