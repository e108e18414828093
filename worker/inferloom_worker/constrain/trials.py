"""Trying grammars before this process compiles them: compiling cannot be interrupted, and a process can."""

import contextlib
import threading
from typing import NamedTuple

from inferloom_mesh.errors import InferloomError, overloaded
from inferloom_worker.constrain.trial import MEMORY
from inferloom_worker.constrain.trial_process import LateError, TrialProcess
from inferloom_worker.constrain.vocabulary import Maker

PROCESSOR_S = 2.0
"""Processor time that compiling a grammar may take."""

WAIT_S = 5.0
"""Time that it may take with waiting for others."""

START_WAIT_S = 20.0
"""Time that the process may take to start, for who waits for that: busy machines with large vocabularies take
long, and it is nobody's fault."""


class Verdict(NamedTuple):
    """What came of a grammar's trial."""

    refusal: str
    """Why it is refused; empty: it is not."""
    bytes: int = 0
    """Memory that its compiled form took."""
    copied: int = 0
    """Memory that a copy of that takes."""


class Trials:
    """One process that tries grammars, started before the first is tried and again when one has ended it.

    Args:
        maker: Makes the vocabulary there, as it was made here.
    """

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._lock = threading.RLock()  # it knows whose it is: see _free
        self._process: TrialProcess | None = None

    def begin(self) -> None:
        """Start the process, if none runs, and do not wait for it."""
        with self._lock:
            self._begun()

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
                return self._tried(text, self._running())
            finally:
                self._free()
        finally:
            self._free()

    def _free(self) -> None:
        """Give the lock back if this thread has it, whatever became of the call that took it."""
        with contextlib.suppress(RuntimeError):  # it is not this thread's
            self._lock.release()

    def _running(self) -> TrialProcess:
        """The process, ready. One that begins goes on beginning when nobody waits for it any more."""
        process = self._begun()
        if not process.ready.wait(START_WAIT_S) or process.over:
            raise _busy()
        return process

    def _begun(self) -> TrialProcess:
        if self._process is None or self._process.over:
            self._end()
            self._process = TrialProcess(self._maker)
        return self._process

    def _tried(self, text: str, process: TrialProcess) -> Verdict:
        try:
            return Verdict(*process.ask(text, PROCESSOR_S, WAIT_S))
        except LateError:
            self._end()
            raise _busy() from None
        except TimeoutError:
            self._end()
            return Verdict(f"it takes more than {PROCESSOR_S:g} s to compile")
        except (OSError, EOFError):
            self._end()
            return Verdict(f"it takes more than {MEMORY // 2**20} MiB to compile")
        except BaseException:  # whoever waits for it no longer does; the answer is not to be the next one's
            self._end()
            raise

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()


def _busy() -> InferloomError:
    return overloaded("Other grammars are being compiled.")
