"""What becomes of the lines that a service writes: all go to its file, few to the terminal."""

import logging
import re
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

from platformdirs import user_log_path

_RECORD = re.compile(r"\S+ \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_FILE_BYTES = 16 * 2**20
_KEPT_RUNS = 20
_TAIL_LINES = 30


def new_run_folder(name: str) -> Path:
    """Make the folder for the logs of one run, and drop those of runs long past.

    Args:
        name: Sorts after the names of earlier runs, as a date does.
    """
    root = user_log_path("inferloom", appauthor=False)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(f for f in root.iterdir() if f.is_dir())[:-_KEPT_RUNS]:
        for file in old.glob("*.log*"):
            file.unlink(missing_ok=True)
        if not any(old.iterdir()):
            old.rmdir()
    return folder


class Tail:
    """The last lines of one service, over all its restarts."""

    def __init__(self) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._level = logging.INFO

    def write(self, line: str) -> int:
        """Keep a line and return its level. A line with no level of its own continues the one before."""
        self.tail.append(line)
        if match := _RECORD.match(line):
            self._level = logging.getLevelNamesMapping()[match[1]]
        return self._level

    def close(self) -> None:
        """Write nothing more."""


class ServiceLog(Tail):
    """All lines of one service, over all its restarts, in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        self.file = folder / f"{name}.log"
        self._handler = RotatingFileHandler(self.file, maxBytes=_FILE_BYTES, backupCount=1, encoding="utf-8")

    def write(self, line: str) -> int:
        """See :meth:`Tail.write`."""
        self._handler.emit(logging.LogRecord("", 0, "", 0, line, None, None))
        return super().write(line)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()
