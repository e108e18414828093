"""Threads that tenants have in turn: whoever asks for much waits behind himself, and others do not."""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from inferloom_mesh.errors import stopped

T = TypeVar("T")

_Waiting = tuple["Future[Any]", Callable[[], Any]]


class Turns:
    """Runs work on threads of its own: of each tenant the first to come, and tenants one after the other.

    Args:
        threads: Pieces of work that run at once.
        each: Those of one tenant, at most. None: as many as there are threads.
        name: What the threads' names begin with.
    """

    def __init__(self, threads: int, *, each: int | None = None, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._each = threads if each is None else each
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        """What waits, by tenants, the next one first."""
        self._running: Counter[str] = Counter()
        self._closed = False

    def submit(self, tenant: str, work: Callable[[], T]) -> "Future[T]":
        """Run ``work`` when it is its turn.

        Raises:
            InferloomError: NO_WORKER, after :meth:`close`; so does what is returned, where that comes before
                the work's turn.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise stopped()
            self._waiting.setdefault(tenant, deque()).append((future, work))
            self._threads.submit(self._serve)
        return future

    def close(self) -> None:
        """Let the threads end when what they do is done. What waits fails.

        It is not cancelled: who awaits it would take that for his own cancellation, and tell nobody.
        """
        with self._lock:
            self._closed = True
            left = [future for waiting in self._waiting.values() for future, _ in waiting]
            self._waiting.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(stopped())

    def _serve(self) -> None:
        """Work until nothing may be begun. Each piece has a call of this; one that comes while its tenant has
        all that he may have is left to those who work for him."""
        taken = self._next()
        while taken is not None:
            tenant = taken[0]
            _run(*taken[1])  # no name here keeps it: a failure holds all frames that it came through
            taken = self._next(tenant)

    def _next(self, done: str | None = None) -> tuple[str, _Waiting] | None:
        """What is to be run now that something of the tenant ``done`` has ended. None: nothing may be."""
        with self._lock:
            if done is not None:
                self._running[done] -= 1
                if not self._running[done]:
                    del self._running[done]
                if done in self._waiting:
                    self._waiting.move_to_end(done)
            tenant = next((name for name in self._waiting if self._running[name] < self._each), None)
            if tenant is None:
                return None
            waiting = self._waiting[tenant]
            taken = waiting.popleft()
            self._running[tenant] += 1
            if waiting:
                self._waiting.move_to_end(tenant)
            else:
                del self._waiting[tenant]
            return tenant, taken


def _run(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as failure:  # whoever waits for it is told of everything
        future.set_exception(failure)
        del future  # or it and its exception would keep each other
    else:
        future.set_result(result)
