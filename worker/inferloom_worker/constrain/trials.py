"""Trying grammars before this process compiles them: compiling cannot be interrupted, and a process can."""

import contextlib
import select
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import psutil

from inferloom_mesh.errors import InferloomError, overloaded
from inferloom_worker.constrain.trial import MEMORY, read, write
from inferloom_worker.constrain.vocabulary import Maker

PROCESSOR_S = 2.0
"""Processor time that compiling a grammar may take."""

WAIT_S = 5.0
"""Time that it may take with waiting for others: callers take longer silence for a stall."""

_LOOK_S = 0.05
_START_S = 60.0


class Verdict(NamedTuple):
    """What came of a grammar's trial."""

    refusal: str
    """Why it is refused; empty: it is not."""
    bytes: int = 0
    """Memory that its compiled form took."""


class Trials:
    """One process that tries grammars, started when the first is tried and again when one has ended it.

    Args:
        maker: Makes the vocabulary there, as it was made here.
    """

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._lock = threading.RLock()  # it knows whose it is: see _free
        self._process: subprocess.Popen[bytes] | None = None

    def verdict(self, text: str) -> Verdict:
        """Try a grammar. Blocking; one at a time.

        Raises:
            InferloomError: SERVER_OVERLOADED, where it was not known in time although it took little.
        """
        # The caller may be ended once, between any two instructions: also between having the lock and knowing
        # it, and in the midst of giving it back.
        try:
            try:
                if not self._lock.acquire(timeout=WAIT_S):
                    raise _busy()
                return self._tried(text)
            finally:
                self._free()
        finally:
            self._free()

    def _free(self) -> None:
        """Give the lock back if this thread has it, whatever became of the call that took it."""
        with contextlib.suppress(RuntimeError):  # it is not this thread's
            self._lock.release()

    def _tried(self, text: str) -> Verdict:
        try:
            process = self._running()
            assert process.stdin is not None
            write(process.stdin, text)
            return self._answer(process, PROCESSOR_S, WAIT_S)
        except (OSError, EOFError):
            self._end()
            return Verdict(f"it takes more than {MEMORY // 2**20} MiB to compile")
        except _LateError:
            self._end()
            raise _busy() from None
        except TimeoutError:
            self._end()
            return Verdict(f"it takes more than {PROCESSOR_S:g} s to compile")
        except BaseException:  # whoever waits for it no longer does; the answer is not to be the next one's
            self._end()
            raise

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def __del__(self) -> None:
        self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        process = self._process
        if process is None:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "inferloom_worker.constrain.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the worker, whose end this one notices by itself
            )
            assert process.stdin is not None
            write(process.stdin, self._maker)
            self._answer(process, _START_S, _START_S)
        return process

    def _answer(self, process: subprocess.Popen[bytes], processor_s: float, wait_s: float) -> Verdict:
        """What the process says. Raises TimeoutError or _LateError, and EOFError where it has ended."""
        assert process.stdout is not None
        began, used = time.monotonic(), _processor_s(process.pid)
        while not select.select([process.stdout], [], [], _LOOK_S)[0]:
            if _processor_s(process.pid) - used > processor_s:
                raise TimeoutError
            if time.monotonic() - began > wait_s:
                raise _LateError
        return Verdict(*read(process.stdout))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class _LateError(Exception):
    """The time is over, and little was done in it."""


def _busy() -> InferloomError:
    return overloaded("Other grammars are being compiled.")


def _processor_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
