"""One of several processes that are one gateway."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seat:
    """What the one that starts them tells each; they share the gateway's ports."""

    number: int
    """Which of them it is, from 0 on."""
    metrics: Path
    """The socket where it reports its metrics."""
    counts: Path | None = None
    """The file in which they count the limits of keys together. None: there are no keys."""
