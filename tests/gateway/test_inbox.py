"""Events that wait for a reader."""

import asyncio

import pytest

from inferloom_gateway.calls.inbox import Inbox
from inferloom_mesh.errors import InferloomError, invalid


class Sink:
    """Notes what comes."""

    def __init__(self) -> None:
        self.came: list[object] = []

    def take(self, event: object) -> None:
        """Note it."""
        self.came.append(event)

    def tokens(self, tokens: object) -> None:
        """The same."""
        self.take(tokens)

    def end(self, error: object) -> None:
        """The same."""
        self.take(error)


def unheard(wanted: bool) -> None:
    """Nobody makes events."""


async def test_a_reader_that_waits_gets_all_that_comes_in_one_turn() -> None:
    """He is woken by the first of them, and the rest waits behind it."""
    said: list[bool] = []
    inbox: Inbox[str, InferloomError] = Inbox(said.append)
    first = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.take("a")
    inbox.take("b")
    assert await first == "a"
    inbox.take("c")
    inbox.end(None)
    assert [await inbox.read() for _ in range(3)] == ["b", "c", None]
    assert said == [False]


async def test_a_reader_that_has_gone_is_not_woken() -> None:
    """What comes then waits for the next."""
    inbox: Inbox[str, InferloomError] = Inbox(unheard)
    gone = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    gone.cancel()
    inbox.take("a")
    await asyncio.wait([gone])
    assert gone.cancelled()
    assert await inbox.read() == "a"


async def test_a_reader_hears_of_a_failure_behind_what_came() -> None:
    """In the turn in which both come, and again whenever he asks."""
    inbox: Inbox[str, InferloomError] = Inbox(unheard)
    reads = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.take("a")
    inbox.end(invalid("a", "no"))
    assert await reads == "a"
    for _ in range(2):
        with pytest.raises(InferloomError, match="no"):
            await inbox.read()


async def test_whoever_wants_nothing_when_all_is_handed_over_to_him_gets_no_more() -> None:
    """What waited comes, and the rest when he wants it, which is said once."""
    said: list[bool] = []
    inbox: Inbox[str, InferloomError] = Inbox(said.append)
    sink = Sink()
    inbox.take("a")
    inbox.pause()
    inbox.hand_over(sink)
    assert (sink.came, said, inbox.wanted) == (["a"], [False], False)
    inbox.resume()
    inbox.resume()
    assert said == [False, True]


async def test_one_read_lets_nothing_flow_that_the_reader_does_not_want() -> None:
    """Nor does what waits to be read, once he wants more."""
    said: list[bool] = []
    inbox: Inbox[str, InferloomError] = Inbox(said.append)
    inbox.pause()
    inbox.take("a")
    inbox.resume()
    assert said == [False]
    inbox.pause()
    assert await inbox.read() == "a"
    assert said == [False]
    inbox.resume()
    assert said == [False, True]
