"""The audit log: who changed what, and who was refused, one JSON object a line, only ever added to."""

import errno
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from inferloom_mesh.errors import InferloomError, shown

log = logging.getLogger(__name__)

REFUSALS_PER_S = 20
"""Most refusals that are written in a second; of the others the number is. Whoever is refused could fill the
disk otherwise."""

LOOK_S = 1.0
"""For how long the file is taken to be in its place once that was looked at."""


class Audit:
    """A file that several processes may add to: each line is one write to a file that was opened to append.

    It can be rotated by moving it away: within :data:`LOOK_S` lines go to a new one in its place.

    A line has ``time`` (UTC), ``event``, ``who`` and ``pid``, and what the event is about. Who is a
    certificate's role and name, an API key's id, a user of the system or an address; no secret is ever in it.

    Args:
        file: Where; made with mode 0600.
        clock: Monotonic seconds.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = file
        self._clock = clock
        self._lock = threading.Lock()
        try:
            self._file = self._opened()
        except OSError as failure:
            raise OSError(f"the audit log {file} cannot be written: {failure.strerror}") from failure
        self._looked = clock()
        self._cut = False
        """Whether the last line is not whole."""
        self._second = 0.0
        self._written = 0
        self._left_out = 0
        self._failing = False

    def done(self, event: str, who: str, **about: object) -> None:
        """Write that something was done, such as ``model.load``."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "event": event, "who": shown(who), "pid": os.getpid(), **about}
        data = json.dumps(line, default=str).encode() + b"\n"
        try:
            with self._lock:
                try:
                    self._follow()
                finally:  # the file that was there can be written all the same
                    self._add(data)
        except OSError as failure:
            if not self._failing:
                log.error("the audit log %s cannot be written: %s", self._name, failure.strerror)
            self._failing = True
        else:
            self._failing = False

    def refused(self, what: str, who: str, refusal: InferloomError) -> None:
        """Write that somebody was not let do something."""
        now = self._clock()
        if now - self._second >= 1.0:
            left_out, self._second, self._written, self._left_out = self._left_out, now, 0, 0
            if left_out:
                self.done("refused.more", "", count=left_out)
        if self._written < REFUSALS_PER_S:
            self._written += 1
            self.done("refused", who, what=shown(what), reason=refusal.reason.value)
        else:
            self._left_out += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _opened(self) -> int:
        return os.open(self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _follow(self) -> None:
        """Open the file that is to be written where the open one was moved away."""
        now = self._clock()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            if os.path.samestat(os.stat(self._name), os.fstat(self._file)):
                return
        except FileNotFoundError:
            pass
        opened = self._opened()
        os.close(self._file)
        self._file, self._cut = opened, False

    def _add(self, line: bytes) -> None:
        """Write a line; one behind what is left of another begins anew."""
        data = b"\n" + line if self._cut else line
        written = os.write(self._file, data)
        if written:
            self._cut = written < len(data)
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def audit_at(file: Path | None) -> Audit | None:
    """The audit log at ``file``; None: there is none. Raises OSError as :class:`Audit`."""
    return None if file is None else Audit(file)
