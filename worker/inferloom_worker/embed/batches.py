"""How waiting texts are put together. Pure."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar


class Sized(Protocol):
    """A waiting text."""

    @property
    def length(self) -> int:
        """Its tokens."""
        ...


S = TypeVar("S", bound=Sized)


def cut(waiting: Sequence[S], *, size: int, tokens: int) -> Iterator[list[S]]:
    """Cut into batches of similar lengths, longest first.

    Each holds at most ``size`` texts and, padded to its longest, at most ``tokens`` tokens; a text that is
    longer goes alone.
    """
    batch: list[S] = []
    for item in sorted(waiting, key=lambda s: s.length, reverse=True):
        if batch and (len(batch) >= size or batch[0].length * (len(batch) + 1) > tokens):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
