"""Lets what is written for the content of one frame go out together."""

from typing import Protocol


class Gathered(Protocol):
    """Holds what is to be written."""

    def flush(self) -> None:
        """Write it."""


class Gathering:
    """A block in which writers wait: what a frame has for a client, several events at its end, is one write.

    Nothing is awaited in the block. It belongs to one event loop.
    """

    __slots__ = ("_noted", "open")

    def __init__(self) -> None:
        self.open = False
        """Whether the block runs."""
        self._noted: list[Gathered] = []

    def note(self, writer: Gathered) -> None:
        """Have a writer write at the end of the block."""
        self._noted.append(writer)

    def __enter__(self) -> None:
        self.open = True

    def __exit__(self, *_: object) -> None:
        self.open = False
        noted, self._noted = self._noted, []
        for writer in noted:
            writer.flush()
