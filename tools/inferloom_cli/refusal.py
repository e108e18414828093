"""What the command line says when it cannot do what it was asked."""

from collections.abc import Iterator
from contextlib import contextmanager

FAILED = 1
MISUSED = 2


class RefusedError(Exception):
    """One readable line for the person at the terminal, and the exit status that goes with it."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn a library that is missing inside the block into the line that installs it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("inferloom"):
            raise
        raise RefusedError(f"{missing.name} is not installed: pip install 'inferloom[{extra}]'") from missing
