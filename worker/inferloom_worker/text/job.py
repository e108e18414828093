"""A piece of text work: how long it took, how it is ended, and the record of its kind."""

import ctypes
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")

QUICK_S = 0.5e-3
"""Processor time that the way to a thread and back takes as well."""

_RUNS = 16
_BACK = 4


class Trial:
    """The record of small pieces of work of one kind, such as short conversations for one template.

    It is passed by sixteen quick ones in a row. One that was not takes back four of them, as any is now and
    then for reasons that are not its own; and all, if it took four times as long.
    """

    def __init__(self) -> None:
        self._quick = 0

    @property
    def passed(self) -> bool:
        """Whether the next one is expected to be quick."""
        return self._quick >= _RUNS

    def note(self, seconds: float) -> None:
        """Add one that took ``seconds`` of processor time."""
        if seconds <= QUICK_S:
            self._quick = min(self._quick + 1, _RUNS)
        else:
            self._quick = max(self._quick - _BACK, 0) if seconds <= 4 * QUICK_S else 0


class TimeUp(BaseException):  # it is no error, and no template may catch it
    """Raised inside a piece of work whose time is over."""


class NeverStartedError(Exception):
    """The time was over before a thread was free."""


class Job(Generic[T]):
    """One piece of work that can be ended from another thread, where it runs Python code.

    Args:
        work: What to do.
        trial: The record that it goes on if it runs, however it ends.
        clock: Processor time of the calling thread, in seconds.
    """

    def __init__(self, work: Callable[[], T], trial: Trial | None, clock: Callable[[], float]) -> None:
        self._work = work
        self._trial = trial
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._late = False

    def run(self) -> T:
        """Do it, in a context of its own: what it sets there is gone when it ends, wherever that is.

        Raises TimeUp when it was ended, NeverStartedError when that was before it began.
        """
        with self._lock:
            if self._late:
                raise NeverStartedError
            self._thread = threading.get_ident()
        began, context = self._clock(), copy_context()
        try:
            try:
                return context.run(self._work)
            finally:
                self._leave()
        finally:
            # TimeUp comes once at most, and may come between any two instructions: also on the way to leaving
            # or in the midst of it.
            self._leave()
            if self._trial is not None:
                self._trial.note(self._clock() - began)

    def _leave(self) -> None:
        """Let nobody end this thread any more, and take back what was set and has not been raised yet."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._late:
                _raise_in(thread, None)

    def end(self) -> None:
        """End it, wherever it is. Callable from any thread."""
        with self._lock:
            if self._thread is not None and not self._late:
                _raise_in(self._thread, TimeUp)
            self._late = True


def run_within(limit_s: float, work: Callable[[], T]) -> T:
    """Do ``work`` on this thread, and end it after ``limit_s`` seconds. Raises TimeUp when it was ended."""
    job = Job(work, None, time.thread_time)
    alarm = threading.Timer(limit_s, job.end)
    alarm.daemon = True
    alarm.start()
    try:
        return job.run()
    finally:
        alarm.cancel()


def _raise_in(thread: int | None, exception: type[BaseException] | None) -> None:
    """Raise ``exception`` at the next instruction of a thread; None takes back one that is pending."""
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread or 0), value)
