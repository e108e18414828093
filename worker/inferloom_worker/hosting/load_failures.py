"""What a load that fails says, and leaves behind: a sentence about the model, and nothing."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from inferloom_mesh.extras import advice
from inferloom_worker.sourcing.sources import SourceError

_LONGEST_REASON, _LONGEST_SPEC = 400, 200
"""Characters of an exception's words, and of a spec, that go into a message."""

log = logging.getLogger(__name__)


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


@contextmanager
def timed(name: str, spec: str, extra: str) -> Iterator[None]:
    """A load of ``spec`` as ``name``: log how long it took, or say why it failed.

    Raises:
        SourceError: As :func:`refusing`; of a library that is missing it says that ``extra`` of the
            distribution brings it.
    """
    started = time.monotonic()
    with refusing(spec):
        try:
            yield
        except ModuleNotFoundError as missing:
            library = missing.name or "a library"
            if library.startswith("inferloom"):
                raise
            brought = "vllm" if library == "vllm" else extra
            raise SourceError(f"{_short(spec)} cannot be loaded: {advice(library, brought)}") from missing
    log.info("%s: loaded %s in %.1f s", name, spec, time.monotonic() - started)


@contextmanager
def refusing(spec: str) -> Iterator[None]:
    """Turn whatever the libraries raise into a sentence about the model.

    Raises:
        SourceError: With that sentence.
    """
    try:
        yield
    except SourceError as failure:
        if Path(spec).name in str(failure):
            raise
        # A hub's model is in a folder with the name of a commit.
        raise SourceError(f"{_short(spec)}: {failure}") from failure
    except (ValueError, OSError, MemoryError) as failure:
        raise SourceError(f"{_short(spec)} cannot be loaded: {_told(failure)}") from failure
    except Exception as failure:
        # The boundary of the loading thread: for a damaged file, the libraries raise whatever they like.
        log.exception("%s cannot be loaded", spec)
        raise SourceError(
            f"{_short(spec)} cannot be loaded: it is damaged or of a form that is not known "
            f"({type(failure).__name__}: {_told(failure)})"
        ) from failure


@contextmanager
def closed_on_failure(started: C) -> Iterator[C]:
    """Close what has a thread, or memory of an accelerator, and comes to nothing."""
    try:
        yield started
    except BaseException:
        started.close()
        raise


def _told(failure: Exception) -> str:
    """What an exception says, in one line."""
    words = " ".join(str(failure).split()) or type(failure).__name__
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON]}…"


def _short(spec: str) -> str:
    return spec if len(spec) <= _LONGEST_SPEC else f"{spec[:_LONGEST_SPEC]}…"
