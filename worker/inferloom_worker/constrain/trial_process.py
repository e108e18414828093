"""The process that tries grammars, as the worker speaks with it."""

import contextlib
import logging
import select
import subprocess
import sys
import threading
import time

import psutil

from inferloom_worker.constrain.trial import read, write
from inferloom_worker.constrain.vocabulary import Maker

START_S = 60.0
"""Time, and processor time, that its start may take: on a slow machine large vocabularies take long."""

_LOOK_S = 0.05

log = logging.getLogger(__name__)


class LateError(Exception):
    """The time is over, and little was done in it."""


class TrialProcess:
    """It starts by itself, on a thread of its own, and is then ``ready`` or ``over``.

    Args:
        maker: Makes the vocabulary there.
    """

    def __init__(self, maker: Maker) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inferloom_worker.constrain.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the worker, whose end this one notices by itself
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._wanted = True
        self.ready = threading.Event()
        """That it takes grammars, or has ended before that."""
        self._beginning = threading.Thread(target=self._begin, args=(maker,), name="trials", daemon=True)
        self._beginning.start()

    def _begin(self, maker: Maker) -> None:
        try:
            self.ask(maker, START_S, START_S)
        except (OSError, EOFError, LateError) as failure:
            if self._wanted:
                log.warning("the process that tries grammars did not start: %r", failure)
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.wait()
        self.ready.set()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def ask(self, message: object, processor_s: float, wait_s: float) -> tuple[str, int, int]:
        """What it answers.

        Raises:
            TimeoutError: It took more than ``processor_s`` seconds of processor time.
            LateError: It took longer than ``wait_s`` seconds, in which it had little to compute with.
            EOFError, OSError: It has ended.
        """
        write(self._input, message)
        began, used = time.monotonic(), self._processor_s()
        while not select.select([self._output], [], [], _LOOK_S)[0]:
            if self._processor_s() - used > processor_s:
                raise TimeoutError
            if time.monotonic() - began > wait_s:
                raise LateError
        why, made, copied = read(self._output)
        return why, made, copied

    def end(self) -> None:
        """End it."""
        self._wanted = False
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._beginning.join()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()

    def _processor_s(self) -> float:
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)
