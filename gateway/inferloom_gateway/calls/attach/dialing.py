"""Tries to open a worker's own link port, beside the calls, until that is done."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_mesh.backoff import backoff

log = logging.getLogger(__name__)

MOST_WAIT_S = 15.0
"""Seconds between two tries at most."""

SOON_S = 0.3
"""Seconds in which a connection is there where all is well. After that gRPC's is opened meanwhile."""

NOTE_S = 60.0
"""Seconds between two lines about a port that is not to be had, whatever is said of it."""

_STEADY_S = 10.0
"""How long a connection must have lasted for the next tries to come quickly again."""


class Dialing:
    """One worker's.

    Args:
        dialer: Opens connections. None: nobody does.
        where: The worker's link address now; empty: it has none.
        worker: Its address, for the log.
        opened: Is given the stream.
        unreached: Is told of each try that failed, and of each that takes its time.
    """

    def __init__(
        self,
        dialer: Dialer | None,
        where: Callable[[], str],
        worker: str,
        opened: Callable[[TcpStream], object],
        unreached: Callable[[], object],
    ) -> None:
        self._dialer = dialer
        self._where = where
        self._worker = worker
        self._opened = opened
        self._unreached = unreached
        self._task: asyncio.Task[None] | None = None
        self._waits: Iterator[float] = backoff(most=MOST_WAIT_S)
        self._since = 0.0
        self._pause_s = 0.0
        self._failing = ""
        self._noted = float("-inf")

    def begin(self) -> bool:
        """Try, unless that is being done. False: nothing is tried at once, now."""
        if self._dialer is None or not self._where():
            return False
        if self._task is not None:
            return False
        pause_s, self._pause_s = self._pause_s, 0.0
        self._task = asyncio.create_task(self._try(self._dialer, pause_s), name=f"dial {self._worker}")
        return not pause_s

    def lost(self) -> bool:
        """The connection that was opened has ended; whether it had lasted. Where it had not, what is between
        may not bear it, and the next try has to wait, longer each time."""
        steady = time.monotonic() - self._since >= _STEADY_S
        if steady:
            self._waits = backoff(most=MOST_WAIT_S)
        self._pause_s = 0.0 if steady else next(self._waits)
        return steady

    def cancel(self) -> None:
        """Try no more."""
        if self._task is not None:
            self._task.cancel()

    async def _try(self, dialer: Dialer, pause_s: float) -> None:
        try:
            if pause_s:
                await asyncio.sleep(pause_s)
            while address := self._where():
                late = asyncio.get_running_loop().call_later(SOON_S, self._unreached)
                try:
                    await dialer.dial(address, self._open)
                except (OSError, ValueError) as failure:
                    self._note(address, str(failure) or type(failure).__name__)
                except Exception:  # a bug: there is gRPC, and the next try
                    log.exception("the link's own port %s could not be opened", address)
                else:
                    return
                finally:
                    late.cancel()
                self._unreached()
                await asyncio.sleep(next(self._waits))
        finally:
            self._task = None

    def _open(self, stream: TcpStream) -> None:
        self._since = time.monotonic()
        if self._failing:
            log.info("the worker at %s is attached at its link's own port again", self._worker)
            self._failing = ""
        self._opened(stream)

    def _note(self, address: str, why: str) -> None:
        now = time.monotonic()
        if why != self._failing and now - self._noted >= NOTE_S:
            self._failing, self._noted = why, now
            words = "the link's own port %s of the worker at %s is not to be had, so gRPC is tried: %s"
            log.info(words, address, self._worker, why)
