"""Events that wait for a reader."""

import asyncio

import pytest

from inferloom_gateway.calls.inbox import Inbox


class Flow:
    """Counts how often it is held back and let go."""

    def __init__(self) -> None:
        self.paused = self.resumed = 0

    def pause(self) -> None:
        """Count."""
        self.paused += 1

    def resume(self) -> None:
        """Count."""
        self.resumed += 1


async def test_a_reader_that_waits_gets_all_that_comes_in_one_turn() -> None:
    """He is woken by the first of them, and the rest waits behind it."""
    flow = Flow()
    inbox: Inbox[str, ValueError] = Inbox(flow)
    first = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.take("a")
    inbox.take("b")
    assert await first == "a"
    inbox.take("c")
    inbox.end(None)
    assert [await inbox.read() for _ in range(3)] == ["b", "c", None]
    assert (flow.paused, flow.resumed) == (1, 0)


async def test_a_reader_that_has_gone_is_not_woken() -> None:
    """What comes then waits for the next."""
    inbox: Inbox[str, ValueError] = Inbox(Flow())
    gone = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    gone.cancel()
    inbox.take("a")
    await asyncio.wait([gone])
    assert gone.cancelled()
    assert await inbox.read() == "a"


async def test_a_reader_hears_of_a_failure_behind_what_came() -> None:
    """In the turn in which both come, and again whenever he asks."""
    inbox: Inbox[str, ValueError] = Inbox(Flow())
    reads = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.take("a")
    inbox.end(ValueError("no"))
    assert await reads == "a"
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await inbox.read()
