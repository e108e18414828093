"""The audit log: who changed what, and who was refused, one JSON object a line, only ever added to."""

import json
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from inferloom_mesh.errors import InferloomError, shown

log = logging.getLogger(__name__)

REFUSALS_PER_S = 20
"""Most refusals that are written in a second; of the others the number is. Whoever is refused could fill the
disk otherwise."""


class Audit:
    """A file that several processes may add to: each line is one write to a file that was opened to append.

    A line has ``time`` (UTC), ``event``, ``who`` and ``pid``, and what the event is about. Who is a
    certificate's role and name, an API key's id, a user of the system or an address; no secret is ever in it.

    Args:
        file: Where; made with mode 0600.
        clock: Monotonic seconds.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            raise OSError(f"the audit log {file} cannot be written: {failure.strerror}") from failure
        self._name = file
        self._clock = clock
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
            os.write(self._file, data)
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


def audit_at(file: Path | None) -> Audit | None:
    """The audit log at ``file``; None: there is none. Raises OSError as :class:`Audit`."""
    return None if file is None else Audit(file)
