"""Which silence is a stall."""

import math
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.stall_watch import INTERVAL_S, StallWatch
from inferloom_gateway.calls.worker_call import (
    LONG_READING_S,
    LONG_STEP_S,
    STALL_S,
    WorkerCall,
    patience,
)
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.errors import InferloomError, Reason


class Silent:
    """A call that says nothing by itself."""

    def __init__(self) -> None:
        self.cancelled = False
        self.sent = True
        self.mute = False

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True


class Unwatched(StallWatch):
    """A watch whose looks a test makes."""

    def look(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / INTERVAL_S)):
            self._look()

    def add(self, call: Any) -> None:
        """Watch without a timer."""
        self._calls.add(call)

    def _look(self) -> None:
        self.now += INTERVAL_S
        for call in tuple(self._calls):
            call.check(self.now)


class Books:
    """In-flight accounting that nobody looks at."""

    def leave(self, member: Member) -> None:
        pass


def make(member: Member, silence_s: float = STALL_S) -> tuple[WorkerCall[Any], Silent, Unwatched]:
    """A call on ``member``."""
    running, watch = Silent(), Unwatched()
    call: WorkerCall[Any] = WorkerCall(member, Books(), watch, silence_s)  # type: ignore[arg-type] # a stand-in
    return call.start(lambda _: running), running, watch


async def verdict_of(call: WorkerCall[Any]) -> Verdict:
    """What its failure means."""
    with pytest.raises(CallFailedError) as caught:
        await call.read()
    return caught.value.verdict


async def test_silence_while_events_are_wanted_is_a_stall() -> None:
    """After 6 s, and not before; the worker is blamed and left alone."""
    call, running, watch = make(Member("w", "w:1"))
    watch.look(STALL_S)
    assert not running.cancelled
    watch.look(2 * INTERVAL_S)
    assert running.cancelled
    verdict = await verdict_of(call)
    assert (verdict.lost, verdict.blamed, verdict.elsewhere) == (True, True, True)


async def test_time_in_which_nothing_is_wanted_does_not_count() -> None:
    """A client that does not read lets its worker wait."""
    call, running, watch = make(Member("w", "w:1"))
    call.pause()
    watch.look(60)
    call.resume()
    watch.look(STALL_S)
    assert not running.cancelled


async def test_events_that_nobody_takes_hold_their_worker_back() -> None:
    """What waits to be read is no silence; once it is read, the worker is waited for again."""
    call, running, watch = make(Member("w", "w:1"))
    call.take("an event")
    watch.look(60)
    assert not running.cancelled
    assert await call.read() == "an event"
    watch.look(STALL_S + INTERVAL_S)
    assert running.cancelled


async def test_an_engine_that_takes_steps_is_no_stall() -> None:
    """However long a call of it has no event; one that stays in the same step is given up at last."""
    call, running, watch = make(Member("w", "w:1"))

    def beat(seconds: int, *, moved: bool) -> None:
        for _ in range(seconds):
            call.beat(moved=moved)
            watch.look(1)

    beat(60, moved=True)
    beat(int(LONG_STEP_S) - 2, moved=False)
    assert not running.cancelled
    beat(3, moved=False)
    assert running.cancelled


async def test_a_request_that_is_read_is_no_stall() -> None:
    """For as long as its worker says so, which bounds that itself; one that says so for ever is given up."""
    call, running, watch = make(Member("w", "w:1"))
    for _ in range(int(LONG_READING_S)):
        call.beat(moved=True)
        watch.look(1)
    assert not running.cancelled
    call.beat(moved=True)
    watch.look(1)
    assert running.cancelled
    assert (await verdict_of(call)).suspect


async def test_a_worker_that_is_mute_until_its_first_event_has_not_stalled_before() -> None:
    """Once it has the call, its connection tells whether it is there; and from that event on it is no longer
    mute."""
    call, running, watch = make(Member("w", "w:1"))
    running.mute = True
    watch.look(LONG_STEP_S)
    assert not running.cancelled
    call.take("an event")
    assert await call.read() == "an event"
    watch.look(STALL_S + INTERVAL_S)
    assert running.cancelled


async def test_a_worker_that_cannot_be_reached_is_given_up_and_not_for_the_calls_doing() -> None:
    """What never left the gateway cannot have ended anybody, mute or not."""
    call, running, watch = make(Member("w", "w:1"))
    running.sent, running.mute = False, True
    watch.look(STALL_S + INTERVAL_S)
    assert running.cancelled
    verdict = await verdict_of(call)
    assert (verdict.lost, verdict.suspect) == (True, False)


@pytest.mark.parametrize("sent", [True, False])
async def test_only_a_call_that_its_worker_had_is_a_suspect(sent: bool) -> None:
    """However it was lost."""
    call, running, _ = make(Member("w", "w:1"))
    running.sent = sent
    call.end(CallFailedError(attempt.lost()))
    assert (await verdict_of(call)).suspect is sent


async def test_a_call_without_an_event_ends_with_its_workers_lease() -> None:
    """At the next look, without blame: its lease may be all that failed."""
    member = Member("w", "w:1")
    call, _, watch = make(member, math.inf)
    member.expired = True
    watch.look(INTERVAL_S)
    verdict = await verdict_of(call)
    assert (verdict.elsewhere, verdict.blamed) == (True, False)


@pytest.mark.parametrize(("waited", "blamed"), [(1.0, False), (STALL_S, True)])
async def test_a_deadline_counts_against_a_worker_that_had_time(waited: float, blamed: bool) -> None:
    """A hung worker is blamed; one that was given too little time is not."""
    call, _, watch = make(Member("w", "w:1"), math.inf)
    watch.look(waited)
    call.end(CallFailedError(attempt.overdue(InferloomError(Reason.TIMEOUT, "Late."))))
    assert (await verdict_of(call)).blamed is blamed


def test_patience_follows_the_models_longest_step() -> None:
    """Five of its steps, 6 s at least."""
    member = Member("w", "w:1")
    assert patience(member, "m") == STALL_S
    card = pb.Model(id="m")
    card.longest_step.FromMilliseconds(4000)
    member.models["m"] = card
    assert patience(member, "m") == 20.0


async def test_whoever_says_again_that_he_wants_events_gives_a_silent_worker_no_more_time() -> None:
    """As the writer of a resumable stream does with each of its beats."""
    call, running, watch = make(Member("w", "w:1"))
    for _ in range(int(STALL_S) + 1):
        call.resume()
        watch.look(1)
    assert running.cancelled
