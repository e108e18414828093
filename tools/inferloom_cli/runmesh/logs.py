"""What becomes of the lines that a service writes: all go to its file, few to the terminal."""

import logging
import re
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from platformdirs import user_log_path

_LEVELS = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
_RECORD = re.compile(rf'\S+ \S+ ({_LEVELS}) |\{{"time": "[^"]*", "level": "({_LEVELS})"')
_FILE_BYTES = 16 * 2**20
_KEPT_RUNS = 20
_TAIL_LINES = 30


def log_root() -> Path:
    """The folder with a folder for each run, whether or not it exists."""
    return user_log_path("inferloom", appauthor=False)


def new_run_folder(name: str) -> Path:
    """Make the folder for the logs of one run, and drop those of runs long past.

    Args:
        name: Sorts after the names of earlier runs, as a date does.

    Raises:
        OSError: It cannot be made.
    """
    root = log_root()
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # what cannot be dropped is somebody else's
        others = sorted(each for each in root.iterdir() if each.is_dir() and each != folder)
        for old in others[: 1 - _KEPT_RUNS]:  # a clock that was set back names this run before those
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
            self._level = logging.getLevelNamesMapping()[match[1] or match[2]]
        return self._level

    def close(self) -> None:
        """Write nothing more."""


class _OnceWarned(RotatingFileHandler):
    """A log file that tells its first failure and none of those that follow it, until it works again."""

    def __init__(self, file: Path, warn: Callable[[str], None]) -> None:
        super().__init__(file, maxBytes=_FILE_BYTES, backupCount=1, encoding="utf-8")
        self._warn = warn
        self._failing = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # the library's name
        """Instead of a traceback for each line."""
        failure = sys.exc_info()[1]
        if not self._failing:
            self._failing = True
            reason = getattr(failure, "strerror", None) or failure
            self._warn(f"cannot write to {self.baseFilename}: {reason}; its lines are lost until that works")

    def flush(self) -> None:
        """Write what is buffered; that it works ends a failure."""
        super().flush()
        self._failing = False


class ServiceLog(Tail):
    """All lines of one service, over all its restarts, in a file.

    Args:
        folder: Where the file goes.
        name: The service.
        warn: Told once, in a sentence, when lines cannot be written.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, folder: Path, name: str, warn: Callable[[str], None]) -> None:
        super().__init__()
        self.file = folder / f"{name}.log"
        self._handler = _OnceWarned(self.file, warn)

    def write(self, line: str) -> int:
        self._handler.emit(logging.LogRecord("", 0, "", 0, line, None, None))
        return super().write(line)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # what it could not write it cannot write now
            self._handler.close()
