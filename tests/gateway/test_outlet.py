"""What is written together goes out together."""

import asyncio
from typing import Any, cast

from inferloom_gateway.calls.gathering import Gathering
from inferloom_gateway.http.connection.outlet import Outlet


class Transport:
    """One that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[bytes | str] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("close")

    def is_closing(self) -> bool:
        return self.closing


def outlet(transport: Transport, gathering: Gathering | None = None) -> Outlet:
    return Outlet(cast("asyncio.Transport", transport), Gathering() if gathering is None else gathering)


def test_a_frames_events_are_one_write_for_each_client() -> None:
    """In their order, at the end of the frame; by itself, each is written at once."""
    gathering, one, other = Gathering(), Transport(), Transport()
    first, second = outlet(one, gathering), outlet(other, gathering)
    first.write(b"a")
    with gathering:
        first.write(b"b")
        second.write(b"x")
        first.write(b"c")
        assert one.done == [b"a"]
    first.write(b"d")
    assert one.done == [b"a", b"bc", b"d"]
    assert other.done == [b"x"]


def test_a_head_waits_for_what_comes_with_it() -> None:
    """Also for what a frame brings at that time."""
    gathering, transport = Gathering(), Transport()
    out = outlet(transport, gathering)
    with out:
        out.write(b"head ")
        with gathering:
            out.write(b"event")
        assert transport.done == []
    assert transport.done == [b"head event"]


def test_closing_sends_what_waits() -> None:
    """Behind that, a connection that has ended is not written to."""
    gathering, transport = Gathering(), Transport()
    out = outlet(transport, gathering)
    with gathering:
        out.write(b"last")
        out.close()
    assert transport.done == [b"last", "close"]
    transport.closing = True
    with out:
        out.write(b"late")
    assert transport.done == [b"last", "close"]


def test_a_frame_that_breaks_a_rule_does_not_hold_back_what_came_before_the_fault() -> None:
    """Nor do frames after it."""
    gathering, transport = Gathering(), Transport()
    out: Any = outlet(transport, gathering)
    try:
        with gathering:
            out.write(b"good")
            raise ValueError
    except ValueError:
        pass
    assert transport.done == [b"good"]
    assert not gathering.open
