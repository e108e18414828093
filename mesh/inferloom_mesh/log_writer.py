"""Where a service's log lines go: the lines of requests that end together are written together."""

import asyncio
import logging
import sys
from typing import TextIO

from inferloom_mesh.log_format import ACCESS, JsonFormatter, LogFormat, TextFormatter


def configure_logging(level: str, form: LogFormat = "text") -> None:
    """Write log lines of at least ``level`` to standard error, in the form that is wanted."""
    # Looked up for each line, and in none.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = TurnWriter(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class TurnWriter(logging.StreamHandler[TextIO]):
    """Writes lines to a stream. Those of the access log wait for the end of the turn of the event loop in
    which they come, and are one write, which costs more than a line takes to make. All others are written at
    once, behind those that wait."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []
        self._last: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See the base."""
        loop = _running_loop() if record.name == ACCESS else None
        if loop is None:
            self.flush()
            super().emit(record)
            return
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if not self._waiting:
            loop.call_soon(self.flush)
        self._waiting.append(line)
        self._last = record

    def flush(self) -> None:
        """Write what waits. Also called when the process ends."""
        self.acquire()
        try:
            if self._waiting:
                lines, self._waiting = self._waiting, []
                self.stream.write(self.terminator.join(lines) + self.terminator)
            super().flush()
        except Exception:
            if self._last is None:
                raise
            self.handleError(self._last)
        finally:
            self._last = None
            self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs on this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
