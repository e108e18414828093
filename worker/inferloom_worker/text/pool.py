"""A few threads for text work, so that templates and tokenizers never hold up the event loop."""

import asyncio
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from inferloom_mesh.errors import invalid, overloaded

T = TypeVar("T")


class TextPool:
    """Runs text work on its own threads, bounded in number and in time.

    Args:
        threads: Pieces of work that run at once.
        max_waiting: Pieces that wait; past it the answer is SERVER_OVERLOADED.
        limit_s: Seconds that one piece may take. A chat template that never ends is ended.
    """

    def __init__(self, *, threads: int = 2, max_waiting: int = 1024, limit_s: float = 10.0) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="text")
        self._places = threads + max_waiting
        self._taken = 0
        self._limit = limit_s

    async def run(self, param: str, work: Callable[[], T], *, quick: bool = False) -> T:
        """Run ``work`` and return what it returns; ``param`` names the field that it works on. What is surely
        ``quick``, a fraction of a millisecond, runs at once: the way to a thread and back would take longer.

        Raises:
            InferloomError: SERVER_OVERLOADED when it could not start in time, INVALID_ARGUMENT when it did
                not end in time; and whatever ``work`` raises.
        """
        if quick:
            return work()
        if self._taken >= self._places:
            raise overloaded(f"{self._taken} requests are being tokenised already.")
        loop = asyncio.get_running_loop()
        job = _Job(work)
        alarm = loop.call_later(self._limit, job.end)
        self._taken += 1
        try:
            return await loop.run_in_executor(self._threads, job.run)
        except _NeverStartedError:
            raise overloaded("The worker is busy tokenising other requests.") from None
        except _TimeUp:
            raise invalid(param, f"{param} was not ready for the model after {self._limit:g} s.") from None
        finally:
            alarm.cancel()
            self._taken -= 1

    def close(self) -> None:
        """Let the threads end when their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _TimeUp(BaseException):  # it is no error, and no template may catch it
    """Raised inside a piece of work whose time is over."""


class _NeverStartedError(Exception):
    """The time was over before a thread was free."""


class _Job(Generic[T]):
    """One piece of work that can be ended from another thread, where it runs Python code."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._late = False

    def run(self) -> T:
        with self._lock:
            if self._late:
                raise _NeverStartedError
            self._thread = threading.get_ident()
        try:
            return self._work()
        finally:
            with self._lock:
                # Takes back an exception that was set and has not been raised yet.
                _raise_in(self._thread, None)
                self._thread = None

    def end(self) -> None:
        with self._lock:
            self._late = True
            if self._thread is not None:
                _raise_in(self._thread, _TimeUp)


def _raise_in(thread: int | None, exception: type[BaseException] | None) -> None:
    """Raise ``exception`` at the next instruction of a thread; None takes back one that is pending."""
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread or 0), value)
