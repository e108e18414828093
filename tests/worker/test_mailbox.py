"""A request's time is over when it is, whatever its engine is at."""

import asyncio
import gc
import time
import weakref

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.events import EndReason, Event, TokensEvent, VectorEvent
from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.request import Committed, GenerationRequest
from tests.worker.engines import request

SOON_S = 0.02


def mailbox(asked: GenerationRequest) -> tuple[Mailbox, list[int | None]]:
    """One, and the choices that its engine is told to end."""
    ended: list[int | None] = []
    return Mailbox(asked, lambda _, choice: ended.append(choice)), ended


def soon() -> float:
    """A deadline."""
    return time.monotonic() + SOON_S


async def told(box: Mailbox) -> list[Event]:
    """All that it says."""
    async with asyncio.timeout(5):
        return [event async for batch in box.events() for event in batch]


async def test_what_has_come_is_kept() -> None:
    """Of each choice; what its engine says after that is nobody's any more."""
    box, aborted = mailbox(request([1], 9, n=2, deadline=soon()))
    for choice in (0, 1):
        box.deliver(TokensEvent(choice, 0, (4, 5)))
    reading = asyncio.create_task(told(box))
    await asyncio.sleep(2 * SOON_S)
    box.deliver(TokensEvent(0, 2, (6,), None, EndReason.LENGTH))

    ends = [event for event in await reading if isinstance(event, TokensEvent) and event.end]

    assert [(e.choice, e.index, e.token_ids, e.end) for e in ends] == [
        (0, 2, (), EndReason.DEADLINE),
        (1, 2, (), EndReason.DEADLINE),
    ]
    assert aborted == [0, 1]


async def test_without_a_first_token_it_is_too_late() -> None:
    """For all of its choices; one that goes on from tokens has them."""
    box, aborted = mailbox(request([1], 9, n=2, deadline=soon()))
    box.deliver(TokensEvent(0, 0, (4,)))
    with pytest.raises(InferloomError, match="before the first token") as late:
        await told(box)
    assert late.value.reason is Reason.TIMEOUT
    assert aborted == [0, 1]

    box, _ = mailbox(request([1], 9, committed={0: Committed((7, 8))}, deadline=soon()))
    assert await told(box) == [TokensEvent(0, 2, (), None, EndReason.DEADLINE)]


async def test_one_that_has_ended_is_not_late() -> None:
    """Its last event may be read when the deadline has passed; and nothing holds it until then."""
    box, aborted = mailbox(request([1], 9, deadline=soon()))
    last = TokensEvent(0, 0, (4,), None, EndReason.LENGTH)
    box.deliver(last)
    await asyncio.sleep(2 * SOON_S)
    assert await told(box) == [last]
    assert aborted == []

    box, _ = mailbox(request([1], 1, embeds=True, deadline=time.monotonic() + 600))
    box.deliver(VectorEvent([1.0]))  # type: ignore[arg-type] # nobody looks at it
    await told(box)
    gone = weakref.ref(box)
    del box
    gc.collect()
    assert gone() is None


async def test_a_text_whose_vector_does_not_come_is_late() -> None:
    """It has no tokens that could be kept."""
    box, _ = mailbox(request([1], 1, embeds=True, deadline=soon()))
    with pytest.raises(InferloomError, match="deadline"):
        await told(box)
