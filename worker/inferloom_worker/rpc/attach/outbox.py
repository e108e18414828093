"""What one call has for its gateway, and how much of it may go."""

from collections import deque
from collections.abc import Callable, Iterable

from inferloom.v1 import link_pb2
from inferloom_mesh.pieces import cut
from inferloom_worker.output.completion import PlainDelta, response_of
from inferloom_worker.rpc.attach.frame import LARGEST_EVENT, Frame, delta_bytes

Item = PlainDelta | link_pb2.CallEvent

MOST_CREDIT = 2**31
"""Credit that a call can have."""


class Outbox:
    """Events of one call in their order, and its credit. Knows neither clock nor loop.

    Args:
        call: The call's number.
        events: Credit in events.
        size: Credit in bytes.
    """

    __slots__ = ("_bytes", "_call", "_events", "_items", "_parts")

    def __init__(self, call: int, events: int, size: int) -> None:
        self._call = call
        self._events = events
        self._bytes = size
        self._items: deque[Item] = deque()
        self._parts: deque[link_pb2.EventPiece] = deque()

    @property
    def empty(self) -> bool:
        """Whether all went."""
        return not (self._items or self._parts)

    @property
    def open(self) -> bool:
        """Whether an event may go: there is credit of both kinds."""
        return self._events > 0 and self._bytes > 0

    def grant(self, events: int, size: int) -> None:
        """More credit came."""
        self._events = min(self._events + events, MOST_CREDIT)
        self._bytes = min(self._bytes + size, MOST_CREDIT)

    def put(self, items: Iterable[Item]) -> None:
        """Add events."""
        self._items.extend(items)

    def clear(self) -> None:
        """Drop all."""
        self._items.clear()
        self._parts.clear()

    def fill(self, frame: Frame, sent: Callable[[Item], object]) -> bool:
        """Move into a frame what may go, once a frame, and tell ``sent`` of each event. True: there is more
        that only lacks room."""
        if self._parts:
            return self._fill_part(frame)
        lists, behind = (frame.opening, frame.closing), 0
        told: set[int] = set()
        """Choices with an entry in the columns, which have one each."""
        while self._items:
            item = self._items[0]
            if isinstance(item, PlainDelta):
                if not self.open:
                    return False
                size = delta_bytes(item)
                if behind or size > LARGEST_EVENT or item.choice in told:
                    # It would overtake what is in the closing list, or is no entry for the columns.
                    self._items[0] = link_pb2.CallEvent(call=self._call, generate=response_of(item))
                    continue
                if not frame.take_room(size):
                    return True
                frame.add_delta(self._call, item)
                told.add(item.choice)
            else:
                free = _is_free(item)
                if not (free or self.open):
                    return False
                size = item.ByteSize()
                if size > LARGEST_EVENT:
                    self._items.popleft()
                    self._charge(size)
                    sent(item)
                    self._cut(item)
                    return self._fill_part(frame)
                if not frame.take_room(size):
                    return True
                behind = max(behind, int(bool(told)))
                lists[behind].append(item)
                if free:
                    size = -1
            self._items.popleft()
            if size >= 0:
                self._charge(size)
            sent(item)
        return False

    def _charge(self, size: int) -> None:
        self._events -= 1
        self._bytes -= size

    def _cut(self, event: link_pb2.CallEvent) -> None:
        for index, last, data in cut(event.SerializeToString()):
            self._parts.append(link_pb2.EventPiece(call=self._call, index=index, last=last, data=data))

    def _fill_part(self, frame: Frame) -> bool:
        """Add one part, so that other calls' come between."""
        if not frame.take_room(self._parts[0].ByteSize()):
            return True
        frame.pieces.append(self._parts.popleft())
        return not self.empty


def _is_free(event: link_pb2.CallEvent) -> bool:
    """Whether an event needs no credit and takes none."""
    return event.HasField("generate") and event.generate.WhichOneof("event") in ("heartbeat", "completed")
