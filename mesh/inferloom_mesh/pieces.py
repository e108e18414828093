"""Messages of a link's calls that are too large for a frame with others: how they are cut, and put together
again. Pure."""

from collections.abc import Iterator
from typing import Protocol

from inferloom_mesh.frames import FrameError
from inferloom_mesh.server import MAX_MESSAGE_BYTES

LARGEST_PIECE = 2**18
"""Bytes of one piece."""


class Piece(Protocol):
    """A part of a message, as the link's contract has it for each way."""

    call: int
    """Number of the call whose message it is."""
    index: int
    """Number of the part, from 0."""
    last: bool
    data: bytes


def cut(message: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """The parts of a message: the number of each, whether it is the last, and its bytes."""
    for index, start in enumerate(range(0, len(message), LARGEST_PIECE)):
        behind = start + LARGEST_PIECE
        yield index, behind >= len(message), message[start:behind]


class PieceBox:
    """Incomplete messages by the numbers of their calls: one for each call at most, of the size that a
    message may have.

    Args:
        most_held: Bytes of all of them.
    """

    def __init__(self, most_held: int) -> None:
        self.parts: dict[int, list[bytes]] = {}
        """What has come of each message that is incomplete."""
        self._most_held = most_held
        self._sizes: dict[int, int] = {}
        self._held = 0

    def add(self, piece: Piece) -> bytes | None:
        """Take the next part; return the message if it was the last.

        Raises:
            FrameError: It is not the next, or it is too much.
        """
        call, size = piece.call, len(piece.data)
        parts = self.parts.setdefault(call, [])
        if piece.index != len(parts) or not 0 < size <= LARGEST_PIECE:
            raise FrameError(f"piece {piece.index} of {size} bytes came as number {len(parts)}")
        parts.append(piece.data)
        self._held += size
        whole = self._sizes[call] = self._sizes.get(call, 0) + size
        if whole > MAX_MESSAGE_BYTES or self._held > self._most_held:
            raise FrameError(f"a message has over {whole} bytes, and all that come in pieces {self._held}")
        if not piece.last:
            return None
        self.drop(call)
        return b"".join(parts)

    def clear(self) -> None:
        """Forget all."""
        self.parts.clear()
        self._sizes.clear()
        self._held = 0

    def drop(self, call: int) -> None:
        """Forget the parts of a call."""
        if self.parts.pop(call, None) is not None:
            self._held -= self._sizes.pop(call, 0)
