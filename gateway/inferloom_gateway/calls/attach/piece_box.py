"""Puts large events together that come in parts."""

from google.protobuf.message import DecodeError

from inferloom.v1 import link_pb2
from inferloom_gateway.calls.attach.broken import BrokenFrameError
from inferloom_mesh.server import MAX_MESSAGE_BYTES

LARGEST_PIECE = 2**18
"""Bytes of one part."""

MOST_HELD = 8 * MAX_MESSAGE_BYTES
"""Bytes of incomplete events on one stream."""


class PieceBox:
    """Incomplete events by the numbers of their calls: one for each call at most, of the size that a message
    may have."""

    def __init__(self) -> None:
        self.parts: dict[int, list[bytes]] = {}
        """What has come of each event that is incomplete."""
        self._sizes: dict[int, int] = {}
        self._held = 0

    def add(self, piece: link_pb2.EventPiece) -> link_pb2.CallEvent | None:
        """Take the next part; return the event if it was the last.

        Raises:
            BrokenFrameError: It is not the next, or it is too much, or it all makes no event.
        """
        call, size = piece.call, len(piece.data)
        parts = self.parts.setdefault(call, [])
        if piece.index != len(parts) or not 0 < size <= LARGEST_PIECE:
            raise BrokenFrameError(f"piece {piece.index} of {size} bytes came as number {len(parts)}")
        parts.append(piece.data)
        self._held += size
        whole = self._sizes[call] = self._sizes.get(call, 0) + size
        if whole > MAX_MESSAGE_BYTES or self._held > MOST_HELD:
            raise BrokenFrameError(
                f"an event has over {whole} bytes, and all that come in pieces {self._held}"
            )
        if not piece.last:
            return None
        self.drop(call)
        try:
            event = link_pb2.CallEvent.FromString(b"".join(parts))
        except DecodeError:
            raise BrokenFrameError("pieces make no event") from None
        if event.call != call:
            raise BrokenFrameError("pieces make an event of another call")
        return event

    def drop(self, call: int) -> None:
        """Forget the parts of a call."""
        if self.parts.pop(call, None) is not None:
            self._held -= self._sizes.pop(call, 0)
