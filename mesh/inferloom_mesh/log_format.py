"""How a service's log lines are written: for people, or as JSON for machines. One line each."""

import json
import logging
import os
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

LogFormat = Literal["text", "json"]

ACCESS = "inferloom.access"
"""Name of the logger with one line for each request."""


_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Structured:
    """A log message that has fields. Its ``str`` is the line for people."""

    __slots__ = ()

    @abstractmethod
    def fields(self) -> Mapping[str, object]:
        """JSON values by name; ``message`` is a sentence."""


class TextFormatter(logging.Formatter):
    """``2026-01-31 10:00:00,123 INFO    logger: message``, in local time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._second, self._shown = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record. Those of requests have neither arguments nor tracebacks."""
        if not isinstance(record.msg, Structured):
            return super().format(record)
        return f"{self.formatTime(record)} {record.levelname:7} {record.name}: {record.msg}"

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 # the library's
        """The time, whose second is only spelled once."""
        second = int(record.created)
        if second != self._second:
            self._second, self._shown = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return f"{self._shown},{int(record.msecs):03d}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, pid, and the message and its fields."""

    def __init__(self) -> None:
        super().__init__()
        self._second, self._shown = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; a traceback is its ``exception``."""
        second = int(record.created)
        if second != self._second:
            self._second, self._shown = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line: dict[str, object] = {
            "time": f"{self._shown}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "pid": os.getpid(),
        }
        if isinstance(record.msg, Structured):
            line |= record.msg.fields()
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class _Line(logging.LogRecord):
    """The record of a request's line, without what the library looks up for others: where in the code it was
    written, and on which thread."""

    def __init__(self, name: str, level: int, line: Structured) -> None:
        now = time.time()
        self.name, self.msg, self.args = name, line, ()
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created = now
        self.msecs = (now % 1) * 1e3
        self.relativeCreated = 0.0
        self.exc_info = self.exc_text = self.stack_info = None
        self.pathname = self.filename = self.module = self.funcName = ""
        self.lineno = 0
        self.thread = self.threadName = self.process = self.processName = None


def write_access(log: logging.Logger, level: int, line: Structured) -> None:
    """Write a request's line; where in the code that happens is nobody's question and is not looked up."""
    if log.isEnabledFor(level):
        log.handle(_Line(log.name, level, line))
