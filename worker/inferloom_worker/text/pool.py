"""Text work: on a few threads, so that templates and tokenizers never hold up the event loop, or on the loop
itself where that is sure to be quicker."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from inferloom_mesh.errors import InferloomError, invalid, overloaded
from inferloom_worker.text.job import Job, NeverStartedError, TimeUp, Trial
from inferloom_worker.text.turns import Turns

T = TypeVar("T")


class TextPool:
    """Runs text work on its own threads, bounded in number and in time. Tenants have them in turn.

    Args:
        threads: Pieces of work that run at once.
        each: Those of one tenant, at most. None: as many as there are threads.
        max_waiting: Pieces that wait; past it the answer is SERVER_OVERLOADED. Of many tenants each
            has his part of them.
        limit_s: Seconds that one piece may take. A chat template that never ends is ended.
        loop_limit_s: The same on the event loop, in which it is ended after twice that at most.
        clock: Processor time of the calling thread, in seconds.
        doing: What the threads do, for who has to wait for too long.
    """

    def __init__(
        self,
        *,
        threads: int = 2,
        each: int | None = None,
        max_waiting: int = 1024,
        limit_s: float = 10.0,
        loop_limit_s: float = 0.5,
        clock: Callable[[], float] = time.thread_time,
        doing: str = "tokenising",
    ) -> None:
        self._turns = Turns(threads, each=each, name=doing.partition(" ")[0])
        self._threads = threads
        self._most_waiting = max_waiting
        self._taken: Counter[str] = Counter()
        self._limit = limit_s
        self._loop_limit = loop_limit_s
        self._clock = clock
        self._doing = doing
        self._on_loop: Job[Any] | None = None
        self._guard: threading.Thread | None = None
        self._closed = threading.Event()

    async def run(
        self,
        param: str,
        work: Callable[[], T],
        *,
        tenant: str = "",
        quick: bool = False,
        trial: Trial | None = None,
    ) -> T:
        """Run ``work`` for a tenant and return what it returns; ``param`` names the field.

        What is ``quick``, or has passed its ``trial``, runs at once: the way to a thread and back would take
        longer. Only what surely ends may be called quick.

        Raises:
            InferloomError: SERVER_OVERLOADED when it could not start in time, INVALID_ARGUMENT when it did
                not end in time, NO_WORKER when the pool was closed before it began; and whatever ``work``
                raises.
        """
        if quick:
            return work()
        job = Job(work, trial, self._clock)
        if trial is not None and trial.passed:
            return self._run_here(param, job)
        self._enter(tenant)
        alarm = asyncio.get_running_loop().call_later(self._limit, job.end)
        try:
            return await asyncio.wrap_future(self._turns.submit(tenant, job.run))
        except NeverStartedError:
            raise self._busy() from None
        except TimeUp:
            raise _not_ready(param, self._limit) from None
        except asyncio.CancelledError:
            job.end()  # nobody waits for it, and it may never end by itself
            raise
        finally:
            alarm.cancel()
            self._leave(tenant)

    def _enter(self, tenant: str) -> None:
        own, tenants = self._taken[tenant], len(self._taken) + (tenant not in self._taken)
        if own >= self._threads + self._most_waiting // tenants:
            raise self._busy()
        self._taken[tenant] += 1

    def _leave(self, tenant: str) -> None:
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]

    def _busy(self) -> InferloomError:
        return overloaded(f"The worker is busy {self._doing} other requests.")

    def _run_here(self, param: str, job: Job[T]) -> T:
        """Run work on the event loop, where a guard sees to it that it ends."""
        if self._guard is None:
            self._guard = threading.Thread(target=self._watch, name="text guard", daemon=True)
            self._guard.start()
        self._on_loop = job
        try:
            return job.run()
        except TimeUp:
            raise _not_ready(param, self._loop_limit) from None
        finally:
            self._on_loop = None

    def _watch(self) -> None:
        seen: Job[Any] | None = None
        while not self._closed.wait(self._loop_limit):
            job = self._on_loop
            if job is not None and job is seen:
                job.end()
            seen = job

    def close(self) -> None:
        """Let the threads end when their work is done. What waits for one fails."""
        self._closed.set()
        self._turns.close()


def _not_ready(param: str, limit: float) -> InferloomError:
    return invalid(param, f"{param} was not ready for the model after {limit:g} s.")
