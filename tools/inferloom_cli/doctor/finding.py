"""What was found, and what mends it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing needs to be done."""
    WARNING = "warning"
    """It works, and not as well as it could."""
    FAULT = "fault"
    """Something does not work, or soon will not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """What it is about: machine, installation, settings, registry, workers, gateway, clocks or
    certificates."""
    level: Level
    what: str
    """What was found, in a sentence without its full stop."""
    fix: str = ""
    """What mends it; never empty for a warning or a fault."""

    def __post_init__(self) -> None:
        assert self.fix or self.level in (Level.OK, Level.NOTE), self.what
