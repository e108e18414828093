"""One frame of an attachment: what an engine's step has for all of a gateway's calls."""

from inferloom.v1 import link_pb2
from inferloom_mesh.pieces import LARGEST_PIECE
from inferloom_worker.output.completion import PlainDelta

LARGEST_FRAME = 2**20
"""Bytes of a frame."""

LARGEST_EVENT = LARGEST_PIECE
"""Bytes of an event that travels whole."""

_BESIDE = 2**16
"""Bytes of a frame that are left to what is not of calls."""

_HEAD = 16
"""Bytes that an entry of a list takes beside itself, at most."""


def delta_bytes(delta: PlainDelta) -> int:
    """What an entry of the columns counts as, on both sides; it takes no more than that in wire form."""
    return 64 + 4 * (len(delta.text) + len(delta.ids))


class Frame:
    """Collects entries until there is no room. Whoever adds one asks for the room before."""

    __slots__ = (
        *("_calls", "_choices", "_counts", "_ids", "_indices", "_left", "_texts"),
        *("closing", "ends", "opening", "pieces"),
    )

    def __init__(self) -> None:
        self._left = LARGEST_FRAME - _BESIDE
        self._calls: list[int] = []
        self._choices: list[int] = []
        self._indices: list[int] = []
        self._counts: list[int] = []
        self._ids: list[int] = []
        self._texts: list[str] = []
        self.opening: list[link_pb2.CallEvent] = []
        self.closing: list[link_pb2.CallEvent] = []
        self.pieces: list[link_pb2.EventPiece] = []
        self.ends: list[link_pb2.CallEnd] = []

    def take_room(self, size: int) -> bool:
        """Whether there is room for an entry of ``size`` bytes, which then is taken."""
        if size + _HEAD > self._left:
            return False
        self._left -= size + _HEAD
        return True

    def add_delta(self, call: int, delta: PlainDelta) -> None:
        """Add an entry to the columns."""
        self._calls.append(call)
        self._choices.append(delta.choice)
        self._indices.append(delta.index)
        self._counts.append(len(delta.ids))
        self._ids += delta.ids
        self._texts.append(delta.text)

    def __bool__(self) -> bool:
        return bool(self._calls or self.opening or self.closing or self.pieces or self.ends)

    def message(self) -> link_pb2.AttachResponse:
        """All of it."""
        message = link_pb2.AttachResponse()
        if self._calls:
            columns = message.deltas
            columns.call.extend(self._calls)
            if any(self._choices):
                columns.choice.extend(self._choices)
            columns.token_index.extend(self._indices)
            columns.token_count.extend(self._counts)
            columns.token_ids.extend(self._ids)
            columns.text.extend(self._texts)
        if self.opening:
            message.opening.extend(self.opening)
        if self.closing:
            message.closing.extend(self.closing)
        if self.pieces:
            message.pieces.extend(self.pieces)
        if self.ends:
            message.ends.extend(self.ends)
        return message
