"""What waits to be sent to a worker."""

from inferloom.v1 import link_pb2

LARGEST_FRAME = 2**20
"""Bytes of one frame."""

LARGEST_START = 2**19
"""Bytes of a start that goes on the link; a larger request is a call of its own."""

MOST_ENTRIES = 10_000
"""Credits and cancels of one frame, which take 30 bytes at most."""

_ENTRY = 32


class Outgoing:
    """Starts, cancels and credits. All that comes together in one turn of the loop goes in one frame, as far
    as there is room."""

    def __init__(self) -> None:
        self._starts: dict[int, link_pb2.StartCall] = {}
        self._cancels: list[int] = []
        self._credits: dict[int, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._starts or self._cancels or self._credits)

    def start(self, start: link_pb2.StartCall) -> None:
        """Begin a call, which takes no more than LARGEST_START."""
        self._starts[start.call] = start

    def cancel(self, call: int) -> None:
        """End a call; one that was not sent will not be."""
        self._credits.pop(call, None)
        if self._starts.pop(call, None) is None:
            self._cancels.append(call)

    def credit(self, call: int, events: int, size: int) -> None:
        """Give a call more credit."""
        earlier = self._credits.get(call)
        if earlier is not None:
            events, size = events + earlier[0], size + earlier[1]
        self._credits[call] = events, size

    def next(self) -> link_pb2.AttachRequest | None:
        """The next frame; None if nothing waits."""
        if not self:
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
            number, start = next(iter(self._starts.items()))
            size = start.ByteSize() + _ENTRY
            if size > room:
                break
            room -= size
            frame.starts.append(start)
            del self._starts[number]
        return frame
