"""Masks of the tokens that constraints allow, filled while the model computes."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.constraint import WORD, ConstraintError, Mask, Matcher

LIMIT_S = 2.0
"""How long a step waits for a sequence's masks, once its model has computed and they have begun to be filled.
What takes longer ends its request, so that the others' steps go on. A step waits twice as long at most."""

_THREADS = min(8, os.cpu_count() or 1)


@dataclass(slots=True)
class PlaceMask:
    """What may come at one place. Without ``words``: whatever the model says."""

    words: Mask | None = None
    over: bool = False
    """Whether nothing may: the choice has ended before it."""
    error: ConstraintError | None = None
    """Why it is not known."""

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


class Filling:
    """Masks that are being filled."""

    def __init__(self, places: list[list[PlaceMask]], jobs: Sequence[Callable[[], None]]) -> None:
        self._places = places
        self._jobs = jobs
        self._running: list[Future[None]] = []
        self.late = False
        """Whether some were not filled in time: threads still work on them."""

    def start(self, threads: Executor) -> "Filling":
        """Begin."""
        self._running = [threads.submit(job) for job in self._jobs]
        return self

    def wait(self) -> list[list[PlaceMask]]:
        """Those of each work, once they are filled. What is not in time is in error.

        What has not begun when the limit is over, because others take long, gets threads and the limit of its
        own.
        """
        begun = [future.running() for future in self._running]
        _, unfinished = wait(self._running, timeout=LIMIT_S)
        if unfinished:
            held = [index for index, future in enumerate(self._running) if future.cancel()]
            threads = ThreadPoolExecutor(max(len(held), 1), thread_name_prefix="masks")
            for index in held:
                self._running[index] = threads.submit(self._jobs[index])
            wait([f for f, early in zip(self._running, begun, strict=True) if not early], timeout=LIMIT_S)
            threads.shutdown(wait=False)
        for index, future in enumerate(self._running):
            if future.done():
                future.result()
                continue
            self.late = True
            error = ConstraintError(f"The grammar takes more than {LIMIT_S:g} s at this place.")
            self._places[index] = [PlaceMask(error=error) for _ in self._places[index]]
        return self._places


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
