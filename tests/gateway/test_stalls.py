"""Which silence is a stall."""

import asyncio
import math
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.stall_watch import INTERVAL_S, StallWatch
from inferloom_gateway.calls.worker_call import STALL_S, WorkerCall, patience
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.errors import InferloomError, Reason


class Silent:
    """A call that says nothing until it is aborted or told to fail."""

    def __init__(self) -> None:
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    async def read(self) -> None:
        raise CallFailedError(await self.verdict)

    def abort(self, verdict: Verdict) -> None:
        self.verdict.set_result(verdict)

    def cancel(self) -> None:
        pass


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
    source, watch = Silent(), Unwatched()
    return WorkerCall(source, member, Books(), watch, silence_s), source, watch  # type: ignore[arg-type] # stand-ins


async def failing(call: WorkerCall[Any]) -> "asyncio.Task[Verdict]":
    """A read that is under way, and the verdict that it will fail with."""

    async def read() -> Verdict:
        with pytest.raises(CallFailedError) as caught:
            await call.read()
        return caught.value.verdict

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


async def test_silence_while_somebody_reads_is_a_stall() -> None:
    """After 6 s, and not before; the worker is blamed and left alone."""
    call, source, watch = make(Member("w", "w:1"))
    reading = await failing(call)
    watch.look(STALL_S)
    assert not source.verdict.done()
    watch.look(2 * INTERVAL_S)
    verdict = await reading
    assert (verdict.lost, verdict.blamed, verdict.elsewhere) == (True, True, True)


async def test_time_in_which_nobody_reads_does_not_count() -> None:
    """A client that does not read lets its worker wait."""
    call, source, watch = make(Member("w", "w:1"))
    watch.look(60)
    reading = await failing(call)
    watch.look(STALL_S)
    assert not source.verdict.done()
    reading.cancel()


async def test_a_call_without_an_event_ends_with_its_workers_lease() -> None:
    """At the next look, without blame: its lease may be all that failed."""
    member = Member("w", "w:1")
    call, _, watch = make(member, math.inf)
    reading = await failing(call)
    member.expired = True
    watch.look(INTERVAL_S)
    verdict = await reading
    assert (verdict.elsewhere, verdict.blamed) == (True, False)


@pytest.mark.parametrize(("waited", "blamed"), [(1.0, False), (STALL_S, True)])
async def test_a_deadline_counts_against_a_worker_that_had_time(waited: float, blamed: bool) -> None:
    """A hung worker is blamed; one that was given too little time is not."""
    call, source, watch = make(Member("w", "w:1"), math.inf)
    reading = await failing(call)
    watch.look(waited)
    source.abort(attempt.overdue(InferloomError(Reason.TIMEOUT, "Late.")))
    assert (await reading).blamed is blamed


def test_patience_follows_the_models_longest_step() -> None:
    """Five of its steps, 6 s at least."""
    member = Member("w", "w:1")
    assert patience(member, "m") == STALL_S
    card = pb.Model(id="m")
    card.longest_step.FromMilliseconds(4000)
    member.models["m"] = card
    assert patience(member, "m") == 20.0
