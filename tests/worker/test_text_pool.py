"""The threads for text work."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.text.job import QUICK_S, Job, NeverStartedError, TimeUp, Trial
from inferloom_worker.text.pool import TextPool
from inferloom_worker.text.template import ChatTemplate
from tests.patience import PATIENCE_S, until_async

ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)


@pytest.fixture
async def short_pool() -> AsyncIterator[TextPool]:
    """One thread, one place to wait, a tenth of a second."""
    pool = TextPool(threads=1, max_waiting=1, limit_s=0.1)
    yield pool
    pool.close()


async def test_an_endless_template_is_ended_and_the_thread_lives_on(short_pool: TextPool) -> None:
    """A template that loops for ever is the request's error, and the next piece of work runs."""
    ChatTemplate(
        "{{ messages[0].content }}", {}
    ).check()  # as loading a model does: it imports what rendering needs
    template = ChatTemplate(ENDLESS, {})
    for _ in range(3):
        with pytest.raises(InferloomError) as caught:
            await short_pool.run("chat.messages", lambda: template.render([]))
        assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, "chat.messages")

        await next_runs(short_pool)


async def next_runs(pool: TextPool) -> None:
    """Wait until the next piece of work finds a thread in time."""

    async def result() -> str | Reason:
        try:
            return await pool.run("text", lambda: "next")
        except InferloomError as error:
            return error.reason

    await until_async(result, "the next piece of work", lambda seen: seen == "next")


async def test_work_past_the_bound_is_refused(short_pool: TextPool) -> None:
    """With one running and one waiting, a third is refused at once; both others finish."""
    going, release = threading.Event(), threading.Event()

    def work() -> bool:
        going.set()
        return release.wait(PATIENCE_S)

    pool = TextPool(threads=1, max_waiting=1)
    running = [asyncio.create_task(pool.run("text", work)) for _ in range(2)]
    await asyncio.to_thread(going.wait, PATIENCE_S)
    with pytest.raises(InferloomError) as caught:
        await pool.run("text", lambda: None)
    release.set()

    assert caught.value.reason is Reason.SERVER_OVERLOADED
    assert await asyncio.gather(*running) == [True, True]
    assert await pool.run("text", lambda: 1) == 1
    pool.close()


async def test_work_that_found_no_thread_in_time_is_an_overload(short_pool: TextPool) -> None:
    """Waiting is not the request's fault."""
    release = threading.Event()
    blocking = asyncio.create_task(short_pool.run("text", lambda: release.wait(PATIENCE_S)))
    waiting = asyncio.create_task(short_pool.run("text", lambda: None))
    await asyncio.sleep(0)  # both alarms are set; this one rings after them
    asyncio.get_running_loop().call_later(0.1, release.set)  # the first piece is in C code until then
    results = await asyncio.gather(blocking, waiting, return_exceptions=True)

    assert [r.reason for r in results if isinstance(r, InferloomError)] == [
        Reason.INVALID_ARGUMENT,
        Reason.SERVER_OVERLOADED,
    ]


async def test_errors_of_the_work_come_through(short_pool: TextPool) -> None:
    """What the work raises is what the caller gets."""
    with pytest.raises(ZeroDivisionError):
        await short_pool.run("text", lambda: 1 / 0)


async def test_quick_work_runs_at_once(short_pool: TextPool) -> None:
    """On the caller's own thread; its errors are the caller's."""
    assert await short_pool.run("text", threading.get_ident, quick=True) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await short_pool.run("text", lambda: 1 // 0, quick=True)


async def test_work_that_passed_its_trial_runs_on_the_loop() -> None:
    """After sixteen quick ones, until one is slow; each kind of work has its own record."""
    now = 0.0

    def take(seconds: float) -> int:
        nonlocal now
        now += seconds
        return threading.get_ident()

    pool = TextPool(threads=1, clock=lambda: now)
    trial, here = Trial(), threading.get_ident()
    threads = [await pool.run("text", lambda: take(QUICK_S / 2), trial=trial) for _ in range(17)]
    assert [thread == here for thread in threads] == [False] * 16 + [True]
    assert await pool.run("text", threading.get_ident, trial=Trial()) != here

    assert await pool.run("text", lambda: take(2 * QUICK_S), trial=trial) == here
    assert await pool.run("text", threading.get_ident, trial=trial) != here
    pool.close()


async def test_work_that_nobody_waits_for_is_ended() -> None:
    """A caller that leaves an endless template frees the thread, and its template has not passed."""
    pool, trial = TextPool(threads=1), Trial()
    ChatTemplate("{{ messages[0].content }}", {}).check()
    template, going = ChatTemplate(ENDLESS, {}), threading.Event()

    def work() -> str:
        going.set()
        return template.render([])

    for _ in range(17):
        going.clear()
        abandoned = asyncio.create_task(pool.run("chat.messages", work, trial=trial))
        await asyncio.to_thread(going.wait, PATIENCE_S)
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
    async with asyncio.timeout(PATIENCE_S):
        assert await pool.run("text", lambda: "next") == "next"
    assert not trial.passed
    pool.close()


async def test_a_template_that_becomes_endless_on_the_loop_is_ended() -> None:
    """The loop goes on, and that template runs on threads again."""
    pool = TextPool(loop_limit_s=0.05)
    trial = Trial()
    for _ in range(16):
        trial.note(0.0)
    ChatTemplate("{{ messages[0].content }}", {}).check()
    template = ChatTemplate(ENDLESS, {})
    with pytest.raises(InferloomError) as caught:
        await pool.run("chat.messages", lambda: template.render([]), trial=trial)
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, "chat.messages")
    assert not trial.passed
    assert await pool.run("text", threading.get_ident, trial=trial) != threading.get_ident()
    pool.close()


class MeetingLock:
    """A job's lock, at whose ``place``-th entry or exit by this thread another one ends the job."""

    def __init__(self, job: "Job[int]", place: int) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self.left = place

    def __enter__(self) -> None:
        self._pass()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._pass()

    def _pass(self) -> None:
        if threading.get_ident() == self._thread:
            self.left -= 1
            if self.left == 0:
                ender = threading.Thread(target=self._job.end)
                ender.start()
                ender.join()


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_thread_that_left_its_work_is_not_ended_by_it(place: int) -> None:
    """Wherever its time is over as the work begins or ends, that is raised in the work or not at all."""
    job: Job[int] = Job(lambda: 1, None, time.thread_time)
    lock = MeetingLock(job, place)
    job._lock = lock  # type: ignore[assignment] # it is one
    with suppress(TimeUp, NeverStartedError):
        job.run()
    assert lock.left <= 0
    job.end()
    time.sleep(0)  # where TimeUp would be raised


async def test_tenants_take_turns() -> None:
    """Who comes behind another tenant's queue waits for one piece of it; a tenant's own come in order."""
    pool, going, release = TextPool(threads=1), threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        going.set()
        release.wait(PATIENCE_S)

    asked = [pool.run("text", first, tenant="many")]
    for tenant, name in (("many", "2"), ("many", "3"), ("few", "1"), ("many", "4"), ("other", "1")):
        asked.append(pool.run("text", partial(done.append, f"{tenant} {name}"), tenant=tenant))
    running = [asyncio.create_task(each) for each in asked]
    await asyncio.to_thread(going.wait, PATIENCE_S)
    release.set()
    await asyncio.gather(*running)
    assert done == ["few 1", "other 1", "many 2", "many 3", "many 4"]
    pool.close()


async def test_a_tenant_leaves_threads_to_others() -> None:
    """However much of his runs for long."""
    pool, release = TextPool(threads=3, each=2), threading.Event()
    his = [
        asyncio.create_task(pool.run("text", lambda: release.wait(PATIENCE_S), tenant="his"))
        for _ in range(3)
    ]
    async with asyncio.timeout(PATIENCE_S):
        assert await pool.run("text", lambda: "next", tenant="hers") == "next"
        assert await pool.run("text", lambda: "again", tenant="hers") == "again"
    release.set()
    assert await asyncio.gather(*his) == [True] * 3
    pool.close()


async def test_a_tenant_does_not_take_all_places() -> None:
    """Where another fills them, one that has waited for nothing yet is let in."""
    pool, release = TextPool(threads=1, max_waiting=2), threading.Event()
    his = [
        asyncio.create_task(pool.run("text", lambda: release.wait(PATIENCE_S), tenant="his"))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    with pytest.raises(InferloomError, match="busy tokenising"):
        await pool.run("text", lambda: None, tenant="his")
    hers = asyncio.create_task(pool.run("text", lambda: "hers", tenant="hers"))
    await asyncio.sleep(0)
    release.set()
    assert await hers == "hers"
    await asyncio.gather(*his)
    pool.close()


async def test_what_waits_when_a_pool_is_closed_fails() -> None:
    """Nobody waits for it for ever, nor takes it for his own cancellation. What comes later fails too."""
    pool, going, release = TextPool(threads=1), threading.Event(), threading.Event()

    def first() -> bool:
        going.set()
        return release.wait(PATIENCE_S)

    running, waiting, left = (
        asyncio.create_task(pool.run("text", work)) for work in (first, lambda: True, lambda: True)
    )
    await asyncio.to_thread(going.wait, PATIENCE_S)
    left.cancel()
    await asyncio.sleep(0)
    pool.close()
    release.set()
    late = pool.run("text", lambda: True)
    results = await asyncio.gather(running, waiting, late, left, return_exceptions=True)
    assert results[0] is True
    assert [isinstance(each, InferloomError) and each.reason for each in results[1:3]] == [
        Reason.NO_WORKER
    ] * 2
    assert isinstance(results[3], asyncio.CancelledError)


SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


async def test_work_leaves_nothing_in_the_context_of_its_thread() -> None:
    """Work that is ended does not get to put back what it has set."""
    pool = TextPool(threads=1)
    await pool.run("text", lambda: SEEN.set("something"))
    assert await pool.run("text", SEEN.get) == "nothing"
    job: Job[object] = Job(lambda: SEEN.set("something"), None, time.thread_time)
    job.run()
    assert SEEN.get() == "nothing"
    pool.close()
