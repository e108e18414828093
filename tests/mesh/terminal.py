"""A command of ours on a terminal, as a person uses it."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.mesh.processes import INFERLOOM, environment
from tests.patience import PATIENCE_S

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The screen and the keyboard of one program."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._seen = ""

    def type(self, keys: str) -> None:
        """Press keys; ``\\x03`` is Ctrl-C and ``\\x04`` is Ctrl-D."""
        os.write(self._descriptor, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the screen another size; the program is told."""
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def expect(self, pattern: str, limit: float = PATIENCE_S) -> str:
        """Wait until ``pattern`` appears; return what came up to its end, and forget that."""
        deadline = time.monotonic() + limit
        while not (found := re.search(pattern, self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not appear in {self._seen!r}"
            if select.select([self._descriptor], [], [], left)[0]:
                keys = self._decoder.decode(os.read(self._descriptor, 65536))  # a character may come in two
                self._seen = _CONTROL.sub("", self._seen + keys)
        text, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return text

    def insist(self, keys: str, pattern: str, tries: int = 30) -> str:
        """Press keys until ``pattern`` appears, again each second. Python's line editor misses a Ctrl-C that
        comes between its prompt and its first look at the keyboard; a person presses it again."""
        for _ in range(tries - 1):
            self.type(keys)
            with suppress(AssertionError):
                return self.expect(pattern, limit=1)
        self.type(keys)
        return self.expect(pattern, limit=1)

    def status(self) -> int:
        """Wait for the end; return the exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def terminal(home: Path, *args: str, size: tuple[int, int] | None = None) -> Iterator[Terminal]:
    """Run a command on a terminal of its own, with ``home`` for what it remembers.

    ``size`` is its columns and lines, which can change; without it it has 100 columns whatever happens.
    """
    pid, descriptor = pty.fork()
    if pid == 0:
        # A suite that was started in the background ignores these, and its children would, too.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        place = {"XDG_STATE_HOME": str(home), "TERM": "xterm"} | ({} if size else {"COLUMNS": "100"})
        if size is not None:  # before it looks, and nothing may say otherwise
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        kept = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES")}
        os.execve(INFERLOOM[0], [*INFERLOOM, *args], kept | place)  # no shell is wanted
    made = Terminal(pid, descriptor)
    try:
        yield made
    finally:
        os.close(descriptor)  # hangs up, which ends a program that is still there
