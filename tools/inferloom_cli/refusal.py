"""What the command line says when it cannot do what it was asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inferloom_mesh.extras import advice

FAILED = 1
MISUSED = 2


class RefusedError(Exception):
    """One readable line for the person at the terminal, and the exit status that goes with it."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def writable(what: str, where: Path, instead: str) -> Iterator[None]:
    """Turn a failure to write ``what`` (in words) to ``where`` into the line that says what to do instead."""
    try:
        yield
    except OSError as failure:
        raise RefusedError(f"cannot write {what} to {where}: {failure.strerror}; {instead}") from failure


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn a library that is missing inside the block into the line that installs it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("inferloom"):
            raise
        raise RefusedError(advice(missing.name or "a library", extra)) from missing
