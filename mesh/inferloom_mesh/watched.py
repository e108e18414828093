"""What files hold, read again once they are replaced, without a restart."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S = 1.0
"""How long files are taken for unchanged once somebody has looked."""


class Watched(Generic[T]):
    """The last good value of some files that belong together.

    Files that are replaced by good ones are used within :data:`LOOK_S` of when somebody asks. While what is
    there is not good, or not all of it is there yet, what was read before goes on, each look tries again, and
    the log says once what is wrong: files come one by one, their owner may be set after them, and a
    certificate may begin in a moment.

    Thread-safe: gRPC asks from threads of its own.

    Args:
        files: What is looked at. Some of them need not be there.
        read: Reads and checks them; raises OSError, whose message names the file and says what is wrong.
        name: What they are, for the log.
        clock: Monotonic seconds.

    Raises:
        OSError: They cannot be used, as ``read`` says.
    """

    def __init__(
        self,
        files: Iterable[Path],
        read: Callable[[], T],
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = tuple(files)
        self._read = read
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp = self._look()
        """How the files were when they were last read, and good."""
        self._value = read()
        self._looked = clock()
        self._generation = 0
        self._wrong = ""

    def current(self) -> T:
        """What is to be used by what begins now."""
        with self._lock:
            if self._clock() - self._looked >= LOOK_S:
                self._follow()
            return self._value

    def look(self) -> None:
        """Look at once."""
        with self._lock:
            self._follow()

    def generation(self) -> int:
        """Grows with each replacement."""
        self.current()
        return self._generation

    def _follow(self) -> None:
        self._looked = self._clock()
        # Before they are read: what is replaced meanwhile differs from it at the next look.
        stamp = self._look()
        if stamp == self._stamp:
            self._wrong = ""
            return
        try:
            value = self._read()
        except OSError as failure:
            if (wrong := str(failure)) != self._wrong:
                self._wrong = wrong
                log.warning("%s: what is there now is not used, but what was before: %s", self._name, wrong)
            return
        self._stamp, self._wrong = stamp, ""
        if value != self._value:
            self._value = value
            self._generation += 1
            log.info("%s: what is there now is used from now on%s", self._name, self._more(value))

    def _more(self, value: T) -> str:
        """What the log says of what is used from now on; never what is in it."""
        return ""

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size))
        return tuple(found)
