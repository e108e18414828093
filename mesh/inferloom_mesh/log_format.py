"""How a service's log lines are written: for people, or as JSON for machines. One line each."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

LogFormat = Literal["text", "json"]

ACCESS = "inferloom.access"
"""Name of the logger with one line for each request."""


@runtime_checkable
class Structured(Protocol):
    """A log message that has fields. Its ``str`` is the line for people."""

    def fields(self) -> Mapping[str, object]:
        """JSON values by name; ``message`` is a sentence."""
        ...


class TextFormatter(logging.Formatter):
    """``2026-01-31 10:00:00,123 INFO    logger: message``, in local time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, pid, and the message and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; a traceback is its ``exception``."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{record.msecs:03.0f}Z" if record.msecs < 999.5 else f"{moment}.999Z",
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
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: str, form: LogFormat = "text") -> None:
    """Write log lines of at least ``level`` to standard error, in the form that is wanted."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
