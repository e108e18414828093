"""What waits to be sent to a worker."""

from collections.abc import Iterator

from inferloom.v1 import link_pb2
from inferloom_mesh.pieces import LARGEST_PIECE, cut

LARGEST_FRAME = 2**20
"""Bytes of one frame."""

LARGEST_WHOLE = 2**19
"""Bytes of a start that goes in one; a larger one goes in pieces."""

MOST_ENTRIES = 10_000
"""Credits and cancels of one frame, which take 30 bytes at most."""

_ENTRY = 32

_Sized = tuple[link_pb2.StartCall, int]
"""A start and its bytes, which are counted once: that takes as long as to write it out."""


class Outgoing:
    """Starts, cancels and credits. All that comes together in one turn of the loop goes in one frame, as far
    as there is room.

    Large starts go one after another, each in pieces, which take what others leave of a frame. They wait
    until the worker has said that it takes them.
    """

    def __init__(self) -> None:
        self.takes_pieces = False
        """Whether the worker has said so."""
        self._starts: dict[int, _Sized] = {}
        self._large: dict[int, _Sized] = {}
        self._cutting: tuple[int, Iterator[link_pb2.StartPiece]] | None = None
        """The call whose start is being sent, and the rest of that."""
        self._cancels: list[int] = []
        self._credits: dict[int, tuple[int, int]] = {}

    def start(self, start: link_pb2.StartCall) -> None:
        """Begin a call."""
        size = start.ByteSize()
        (self._large if size > LARGEST_WHOLE else self._starts)[start.call] = start, size

    def larger_than(self, most: int) -> list[int]:
        """The calls whose starts take more bytes and wait to go in pieces."""
        return [call for call, (_, size) in self._large.items() if size > most]

    @property
    def behind(self) -> list[int]:
        """The calls whose starts wait for those of others that go in pieces."""
        return list(self._large)

    def cancel(self, call: int) -> None:
        """End a call; one of which nothing was sent will not be."""
        self._credits.pop(call, None)
        if self._cutting is not None and self._cutting[0] == call:
            self._cutting = None
            self._cancels.append(call)
        elif self._starts.pop(call, None) is None and self._large.pop(call, None) is None:
            self._cancels.append(call)

    def credit(self, call: int, events: int, size: int) -> None:
        """Give a call more credit."""
        earlier = self._credits.get(call)
        if earlier is not None:
            events, size = events + earlier[0], size + earlier[1]
        self._credits[call] = events, size

    def next(self) -> link_pb2.AttachRequest | None:
        """The next frame; None if there is none now."""
        pieces = self.takes_pieces and (self._cutting is not None or bool(self._large))
        if not (self._starts or self._cancels or self._credits or pieces):
            return None
        frame, room = link_pb2.AttachRequest(), LARGEST_FRAME
        cancels, self._cancels = self._cancels[:MOST_ENTRIES], self._cancels[MOST_ENTRIES:]
        frame.cancels.extend(cancels)
        room -= _ENTRY * len(cancels)
        for call in list(self._credits)[: MOST_ENTRIES - len(cancels)]:
            events, size = self._credits.pop(call)
            frame.credits.add(call=call, events=events, bytes=size)
            room -= _ENTRY
        while self._starts:
            number, (start, size) = next(iter(self._starts.items()))
            if size + _ENTRY > room:
                break
            room -= size + _ENTRY
            frame.starts.append(start)
            del self._starts[number]
        while pieces and room >= LARGEST_PIECE + _ENTRY and (piece := self._piece()) is not None:
            frame.pieces.append(piece)
            room -= len(piece.data) + _ENTRY
        return frame

    def _piece(self) -> link_pb2.StartPiece | None:
        """The next part of a large start; None: there is none left."""
        if self._cutting is None:
            if not self._large:
                return None
            number = next(iter(self._large))
            self._cutting = number, _pieces(self._large.pop(number)[0])
        piece = next(self._cutting[1])
        if piece.last:
            self._cutting = None
        return piece


def _pieces(start: link_pb2.StartCall) -> Iterator[link_pb2.StartPiece]:
    for index, last, data in cut(start.SerializeToString()):
        yield link_pb2.StartPiece(call=start.call, index=index, last=last, data=data)
