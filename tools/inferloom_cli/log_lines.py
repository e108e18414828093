"""The lines that services have written, read back: when each was written, and of which request. Pure."""

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(slots=True)
class Entry:
    """What was logged at once: a line, and those that continue it, such as a traceback."""

    service: str
    moment: float
    """When, in seconds since 1970."""
    lines: list[str] = field(default_factory=list)

    def of_request(self, request_id: str) -> bool:
        """Whether it names a request as its own."""
        if fields := _fields(self.lines[0]):
            return fields.get("request_id") == request_id
        shown = request_id if re.fullmatch("[!#-~]+", request_id) else json.dumps(request_id)
        return f"request_id={shown}" in self.lines[0].split(" ")

    def shown(self, width: int) -> Iterator[str]:
        """Its lines with the service's name: in front, or as a field of a JSON line."""
        for line in self.lines:
            if fields := _fields(line):
                yield json.dumps({"service": self.service, **fields}, ensure_ascii=False)
            else:
                yield f"{self.service:<{width}} │ {line}"


def entries(service: str, lines: Iterable[str], before: float = float("-inf")) -> Iterator[Entry]:
    """The entries of one service's log, oldest first; ``before`` is the moment of the line before them."""
    current: Entry | None = None
    for line in lines:
        moment = moment_of(line)
        if current is None or moment is not None:
            if current is not None:
                yield current
            current = Entry(service, before if moment is None else moment)
        current.lines.append(line)
    if current is not None:
        yield current


def merged(logs: Iterable[Iterable[Entry]]) -> Iterator[Entry]:
    """The entries of several services by time; those of one stay in order."""
    return heapq.merge(*logs, key=lambda entry: entry.moment)


def moment_of(line: str) -> float | None:
    """When a line was written, in seconds since 1970; None: it continues the one before."""
    try:
        if _STAMP.match(line):
            return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
        if line.startswith('{"time": "'):
            return datetime.fromisoformat(line[10:34]).timestamp()
    except ValueError:
        pass
    return None


def since(text: str, now: datetime) -> float:
    """The moment that ``10m`` (s, m, h, d) or ``2026-01-31 10:00`` stands for, in seconds since 1970.

    Raises:
        ValueError: It stands for none.
    """
    try:
        if match := _AGO.fullmatch(text.strip()):
            return (now - timedelta(**{_UNITS[match[2]]: float(match[1])})).timestamp()
        return datetime.fromisoformat(text.strip()).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):  # longer ago than there are years
        raise ValueError(
            f"{text!r} is neither a time such as 10m or 2h, nor one such as 2026-01-31 10:00"
        ) from None


def _fields(line: str) -> Mapping[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
