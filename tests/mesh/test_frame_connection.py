"""Two ends of a connection, in virtual time: who is silent, or does not read, is noticed, and nobody else."""

import asyncio
from collections import deque
from typing import Any

import pytest

from inferloom_mesh import frame_connection
from inferloom_mesh.frame_connection import STUCK_S, WRITE_BUFFER, FrameConnection
from inferloom_mesh.frames import LARGEST_FRAME, LARGEST_GREETING, PREAMBLE, FrameError, framed
from tests.gateway.virtual_time import run


class Wire(asyncio.Transport):
    """One direction of a connection. What is written comes to the other end in the next turn, or, while it is
    shut, waits."""

    def __init__(self) -> None:
        super().__init__()
        self.other: FrameConnection | None = None
        self.mine: FrameConnection | None = None
        self.shut = False
        self.lost = False
        """Whether what is written goes nowhere."""
        self.tls = False
        self.goodbye_s = 0.0
        """How long it takes to close."""
        self.writes: list[bytes] = []
        self._waiting = bytearray()
        self._high = 0
        self._closing = self._over = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return "TLS" if name == "ssl_object" and self.tls else default

    def write(self, data: Any) -> None:
        assert not self._closing
        self.writes.append(bytes(data))
        if self.shut:
            self._waiting += data
            if len(self._waiting) > self._high:
                assert self.mine is not None
                self.mine.pause_writing()
        elif not self.lost:
            asyncio.get_running_loop().call_soon(self._arrive, bytes(data))

    def _arrive(self, data: bytes) -> None:
        if self.other is not None and not self._over:
            self.other.data_received(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        if self.goodbye_s:
            asyncio.get_running_loop().call_later(self.goodbye_s, self.abort)
        else:
            asyncio.get_running_loop().call_soon(self.abort)  # behind what was written

    def abort(self) -> None:
        self._closing = True
        if not self._over:
            self._over = True
            assert self.mine is not None
            asyncio.get_running_loop().call_soon(self.mine.connection_lost, None)


class Owner:
    """Sends what a test gives it, and remembers."""

    def __init__(self, patience_s: int = 12, greeting: int = LARGEST_FRAME) -> None:
        self.outgoing: deque[bytes] = deque()
        self.came: list[bytes] = []
        self.why: list[str | None] = []
        self.connection = FrameConnection(self, patience_s, greeting)

    def connected(self) -> None:
        self.connection.transport.write(PREAMBLE)

    def take(self, frame: bytes) -> None:
        if frame == b"bad":
            raise FrameError("it is bad")
        self.came.append(frame)

    def next(self) -> bytes | None:
        return self.outgoing.popleft() if self.outgoing else None

    def lost(self, why: str | None) -> None:
        self.why.append(why)

    def say(self, *frames: bytes) -> None:
        self.outgoing.extend(frames)
        self.connection.wake()


def pair() -> tuple[Owner, Owner, Wire, Wire]:
    """Two ends that know each other, and what each writes to."""
    one, two = Owner(), Owner()
    there, back = Wire(), Wire()
    there.mine, there.other = one.connection, two.connection
    back.mine, back.other = two.connection, one.connection
    one.connection.connection_made(there)
    two.connection.connection_made(back)
    one.connection.opened()
    two.connection.opened()
    return one, two, there, back


def test_two_ends_without_anything_to_say_stay_together() -> None:
    """An hour, for a few bytes."""

    async def work() -> None:
        one, two, there, _ = pair()
        await asyncio.sleep(3600)
        assert one.why == two.why == []
        assert len(there.writes) <= 901
        assert set(there.writes[1:]) == {bytes(4)}
        assert one.came == two.came == []

    run(work())


def test_silence_ends_it() -> None:
    """After its patience, and a second at most."""

    async def work() -> None:
        one, _, _, back = pair()
        await asyncio.sleep(100)
        back.lost = True
        began = asyncio.get_running_loop().time()
        while not one.why:  # noqa: ASYNC110 # virtual
            await asyncio.sleep(0.1)
        assert 7 < asyncio.get_running_loop().time() - began < 13.5
        assert one.why == ["nothing was heard of it for 12 s"]

    run(work())


def test_an_end_that_stood_still_does_not_take_that_for_the_others_silence() -> None:
    """However long: what came meanwhile is read first, or at the next look."""

    async def work() -> None:
        one, _, _, _ = pair()
        loop: Any = asyncio.get_running_loop()
        await asyncio.sleep(50)
        loop._jumping.now += 1000  # nothing of this process ran
        await asyncio.sleep(50)
        assert one.why == []

    run(work())


def test_what_comes_in_one_turn_is_one_write() -> None:
    """In its order, with what is said while it is sent."""

    async def work() -> None:
        one, two, there, _ = pair()
        await asyncio.sleep(0.1)
        before = len(there.writes)
        one.say(b"a")
        one.say(b"b", b"c")
        await asyncio.sleep(0.1)
        assert there.writes[before:] == [framed(b"a") + framed(b"b") + framed(b"c")]
        assert two.came == [b"a", b"b", b"c"]

    run(work())


def test_what_is_in_a_hurry_goes_at_once() -> None:
    """Nothing goes twice, and what somebody else has said before in that turn keeps its place."""

    async def work() -> None:
        one, two, there, _ = pair()
        await asyncio.sleep(0.1)
        before = len(there.writes)
        one.outgoing.append(b"a")
        one.connection.flush()
        assert there.writes[before:] == [framed(b"a")]
        one.say(b"b")
        one.outgoing.append(b"c")
        one.connection.flush()
        assert len(there.writes) == before + 1
        await asyncio.sleep(0.1)
        assert there.writes[before + 1 :] == [framed(b"b") + framed(b"c")]
        there.shut = True
        one.say(*[b"x" * 2**15] * 100)
        await asyncio.sleep(0.1)
        full = len(there.writes)
        one.connection.flush()
        assert len(there.writes) == full
        one.connection.abort(None)
        one.connection.flush()
        assert len(there.writes) == full
        assert two.came == [b"a", b"b", b"c"]

    run(work())


def test_who_does_not_read_is_given_no_more_and_then_up() -> None:
    """What is made for it is bounded; it beats all the while."""

    async def work() -> None:
        one, _, there, _ = pair()
        await asyncio.sleep(0.1)
        there.shut = True
        one.say(*[b"x" * 2**15] * 100)
        await asyncio.sleep(0.1)
        assert there.get_write_buffer_size() <= WRITE_BUFFER + 2**17
        held = len(one.outgoing)
        assert held > 80
        for second in range(STUCK_S + 3):
            assert one.why == [] or second > STUCK_S - 2
            one.connection.data_received(bytes(4))
            await asyncio.sleep(1)
        assert one.why == ["it has read nothing for 30 s"]
        assert len(one.outgoing) == held

    run(work())


def test_a_frame_that_does_not_come_to_its_end_ends_it() -> None:
    """Though bytes of it come all the while."""

    async def work() -> None:
        _, two, there, _ = pair()
        await asyncio.sleep(0.1)
        there.lost = True  # nothing comes but what is given here
        two.connection.data_received((1000).to_bytes(4, "big"))
        for _ in range(STUCK_S - 3):
            await asyncio.sleep(1)
            two.connection.data_received(b"x")
        assert two.why == []
        for _ in range(5):
            await asyncio.sleep(1)
            two.connection.data_received(b"x")
        assert two.why == ["a frame did not come to its end within 30 s"]

    run(work())


def test_a_greeting_has_five_seconds_and_a_bad_frame_none() -> None:
    """Each says why it ended."""

    async def work() -> None:
        silent, wire = Owner(), Wire()
        wire.mine = silent.connection
        silent.connection.connection_made(wire)
        await asyncio.sleep(4.9)
        assert silent.why == []
        await asyncio.sleep(0.2)
        assert silent.why == ["it did not say who it is within 5 s"]
        one, two, _, _ = pair()
        one.say(b"good", b"bad", b"never taken")
        await asyncio.sleep(0.1)
        assert (two.came, two.why) == ([b"good"], ["it is bad"])

    run(work())


def test_closing_sends_what_waits() -> None:
    """And takes nothing in any more."""

    async def work() -> None:
        one, two, _, _ = pair()
        one.say(b"last")
        one.connection.close()
        two.say(b"too late")
        await asyncio.sleep(0.1)
        assert two.came == [b"last"]
        assert (one.came, one.why) == ([], [None])

    run(work())


def test_a_stranger_may_say_little_before_it_is_known() -> None:
    """Not a byte more may be announced, and dripped no more is held. Who is known may say more."""

    async def work() -> None:
        for data in (LARGEST_GREETING + 1).to_bytes(4, "big"), LARGEST_FRAME.to_bytes(4, "big") + b"x" * 999:
            loud, wire = Owner(greeting=LARGEST_GREETING), Wire()
            wire.mine = loud.connection
            loud.connection.connection_made(wire)
            loud.connection.data_received(PREAMBLE + data)
            await asyncio.sleep(0.1)
            assert len(loud.why) == 1
            assert "4096 are the most" in str(loud.why[0])
        one, wire = Owner(greeting=LARGEST_GREETING), Wire()
        wire.mine = one.connection
        one.connection.connection_made(wire)
        for byte in PREAMBLE + framed(b"h" * LARGEST_GREETING):
            assert one.came == []
            one.connection.data_received(bytes([byte]))
        assert one.came == [b"h" * LARGEST_GREETING]
        one.connection.opened()
        one.connection.data_received(framed(b"y" * LARGEST_FRAME))
        assert len(one.came[1]) == LARGEST_FRAME
        assert one.why == []

    run(work())


def test_nothing_is_sent_behind_the_end() -> None:
    """Though it takes TLS a while to say goodbye."""

    async def work() -> None:
        one, two, there, _ = pair()
        there.goodbye_s = 1.0
        one.say(b"last")
        one.connection.close()
        await asyncio.sleep(0.5)
        one.say(b"more")
        await asyncio.sleep(1)
        assert list(one.outgoing) == [b"more"]
        assert (two.came, one.why) == ([b"last"], [None])

    run(work())


def test_who_takes_a_little_now_and_then_is_kept_with_tls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what waits in TLS nothing goes, for what is encrypted waits before it; the system tells."""
    taken = 0
    monkeypatch.setattr(frame_connection, "acknowledged", lambda _: taken)

    async def work() -> None:
        nonlocal taken
        one, _, there, _ = pair()
        await asyncio.sleep(0.1)
        there.tls = there.shut = True
        one.say(*[b"x" * 2**15] * 100)
        for second in range(4 * STUCK_S):
            one.connection.data_received(bytes(4))
            await asyncio.sleep(1)
            taken += second % 20 == 0
        assert one.why == []
        for _ in range(STUCK_S + 3):
            one.connection.data_received(bytes(4))
            await asyncio.sleep(1)
        assert one.why == ["it has read nothing for 30 s"]

    run(work())
