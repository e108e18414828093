"""The lines of the access log, caught as the loggers make them."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from inferloom_mesh.access_line import AccessLine
from inferloom_mesh.log_format import ACCESS
from tests.patience import PATIENCE_S


class Lines(logging.Handler):
    """Keeps what the access log writes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)
        if record.levelno >= logging.INFO:
            self._came.set()

    @property
    def fields(self) -> list[Mapping[str, Any]]:
        """What the lines hold, of those for level INFO and above."""
        return [
            r.msg.fields()
            for r in self.records
            if isinstance(r.msg, AccessLine) and r.levelno >= logging.INFO
        ]

    async def one(self) -> Mapping[str, Any]:
        """The only line, once it is there; it may be written a moment after the response."""
        async with asyncio.timeout(PATIENCE_S):
            await self._came.wait()
        await asyncio.sleep(0.02)  # a second one would be a fault
        (found,) = self.fields
        return found


@contextmanager
def access_lines() -> Iterator[Lines]:
    """Catch the lines that are written in the block."""
    log, lines = logging.getLogger(ACCESS), Lines()
    before = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(lines)
    try:
        yield lines
    finally:
        log.removeHandler(lines)
        log.setLevel(before)
