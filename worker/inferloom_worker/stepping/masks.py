"""Masks of the tokens that constraints allow, filled while the model computes."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.constraint import WORD, ConstraintError, Mask, Matcher
from inferloom_worker.stepping.thread_clock import ThreadClock

LIMIT_S = 2.0
"""Processor time that the masks of a sequence may take in a step. What takes more ends its request, so that
the others' steps go on. By the clock a step waits twice as long at most, once its model has computed."""

_LOOK_S = 0.05
_THREADS = min(8, os.cpu_count() or 1)
_MORE_THREADS = 4 * _THREADS
"""For what waits behind others that take long. A few at a time: with a thread for each, all would be late."""


@dataclass(slots=True)
class PlaceMask:
    """What may come at one place. Without ``words``: whatever the model says."""

    words: Mask | None = None
    over: bool = False
    """Whether nothing may: the choice has ended before it."""
    error: ConstraintError | None = None
    """Why it is not known."""
    late: bool = False
    """Whether there was no time to find it out: nobody's fault but the machine's."""

    @property
    def empty(self) -> bool:
        """Whether no token may come, although the choice has not ended."""
        return self.words is not None and not self.words.any()


FREE = PlaceMask()
"""Anything may come."""


@dataclass(frozen=True, slots=True)
class MaskWork:
    """The places of one sequence in a step: after its tokens, and after each token of its ``draft``.

    The draft is what the matcher allows; past a token of ``stops``, no place counts.
    """

    matcher: Matcher
    draft: Sequence[int] = ()
    stops: frozenset[int] = frozenset()

    @property
    def places(self) -> int:
        """How many there are."""
        return len(self.draft) + 1


class _Job:
    """What fills the masks of one sequence."""

    __slots__ = ("_clock", "_fill", "future")

    def __init__(self, fill: Callable[[], None]) -> None:
        self._fill = fill
        self._clock: ThreadClock | None = None
        self.future: Future[None]

    def start(self, threads: Executor) -> None:
        """Begin."""
        self.future = threads.submit(self._run)

    def _run(self) -> None:
        self._clock = ThreadClock()
        self._fill()

    @property
    def over(self) -> bool:
        """Whether it took all the time that it may."""
        return self._clock is not None and self._clock.seconds >= LIMIT_S


class Filling:
    """Masks that are being filled."""

    def __init__(self, places: list[list[PlaceMask]], jobs: Sequence[Callable[[], None]]) -> None:
        self._places = places
        self._jobs = [_Job(each) for each in jobs]
        self.late = False
        """Whether some were not filled in time: threads still work on them."""

    def start(self, threads: Executor) -> "Filling":
        """Begin."""
        for job in self._jobs:
            job.start(threads)
        return self

    def wait(self) -> list[list[PlaceMask]]:
        """Those of each work, once they are filled. What took too long is in error, and what others or the
        machine kept from being filled in time is late.

        What has not begun when the limit is over, because others take long, gets threads of its own.
        """
        end = time.monotonic() + 2 * LIMIT_S
        wait([job.future for job in self._jobs], timeout=LIMIT_S)
        held = [job for job in self._jobs if job.future.cancel()]
        if held:
            threads = ThreadPoolExecutor(min(len(held), _MORE_THREADS), thread_name_prefix="masks")
            for job in held:
                job.start(threads)
            threads.shutdown(wait=False)
        while (left := self._left()) and (rest := end - time.monotonic()) > 0:
            wait([job.future for job in left], timeout=min(_LOOK_S, rest))
        for index, job in enumerate(self._jobs):
            if job.future.cancel() or not job.future.done():
                self.late = True
                self._places[index] = [_given_up(job) for _ in self._places[index]]
            else:
                job.future.result()
        return self._places

    def _left(self) -> list[_Job]:
        """What is worth waiting for."""
        return [job for job in self._jobs if not (job.future.done() or job.over)]


def _given_up(job: _Job) -> PlaceMask:
    if job.over:
        words = f"The grammar takes more than {LIMIT_S:g} s at this place."
        return PlaceMask(error=ConstraintError(words))
    return PlaceMask(late=True)


class MaskFiller:
    """Fills masks on threads of its own. For one thread, which leaves the matchers alone meanwhile."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._buffer: NDArray[np.int32] = np.empty((0, 0), np.int32)
        self._last: Filling | None = None

    def start(self, works: Sequence[MaskWork], vocab_size: int) -> Filling:
        """Begin. The masks are good until the next call."""
        if not works:
            return Filling([], ())
        if self._last is not None and self._last.late:
            # Threads that are still at work keep what they write into to themselves.
            self.close()
            self._threads, self._buffer = None, np.empty((0, 0), np.int32)
        rows = sum(work.places for work in works)
        words = -(-vocab_size // WORD)
        if self._buffer.shape[0] < rows or self._buffer.shape[1] != words:
            self._buffer = np.empty((rows, words), np.int32)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="masks")
        places = [[PlaceMask() for _ in range(work.places)] for work in works]
        jobs: list[Callable[[], None]] = []
        first = 0
        for work, own in zip(works, places, strict=True):
            masks = self._buffer[first : first + work.places]
            jobs.append(partial(_fill, work, own, masks))
            first += work.places
        self._last = Filling(places, jobs).start(self._threads)
        return self._last

    def close(self) -> None:
        """Let its threads end."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _fill(work: MaskWork, places: list[PlaceMask], masks: NDArray[np.int32]) -> None:
    """Fill the masks of one sequence's places, and leave its matcher where it was."""
    accepted = index = 0
    try:
        for index, place in enumerate(places):
            if index:
                token = work.draft[index - 1]
                if token in work.stops:
                    break
                work.matcher.accept(token)
                accepted += 1
            if not work.matcher.fill(masks[index]):
                place.over = True
                break
            place.words = masks[index]
    except ConstraintError as error:
        places[index].error = error
        if not index:
            return  # its request ends
    try:
        work.matcher.rollback(accepted)
    except ConstraintError as error:
        places[0].error = error
