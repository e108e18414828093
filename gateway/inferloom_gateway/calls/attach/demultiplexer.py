"""Gives what a worker sends on one stream to the calls that it is for. No I/O."""

import logging
from collections.abc import Callable, Sequence
from itertools import repeat

import grpc
from google.protobuf.message import DecodeError

from inferloom.v1 import link_pb2, registry_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.broken import BrokenFrameError
from inferloom_gateway.calls.attach.link_call import LinkCall
from inferloom_gateway.calls.judging import judge
from inferloom_mesh.frames import FrameError
from inferloom_mesh.pieces import PieceBox
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from inferloom_mesh.status import read_status

log = logging.getLogger(__name__)

MOST_ENGINES = 4096
"""Engines of one worker that may beat."""

MOST_HELD = 8 * MAX_MESSAGE_BYTES
"""Bytes of incomplete events on one stream."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}

LoadListener = Callable[[registry_pb2.Load], None]


class Demultiplexer:
    """The calls of one stream, by their numbers.

    Args:
        on_load: Is told of the worker's load.
    """

    def __init__(self, on_load: LoadListener) -> None:
        self.calls: dict[int, LinkCall] = {}
        self._on_load = on_load
        self._last = 0
        self._pieces = PieceBox(MOST_HELD)
        self._steps: dict[str, int] = {}

    def number(self) -> int:
        """A number that no call had."""
        self._last += 1
        return self._last

    def forget(self, call: int) -> None:
        """Drop what still comes for a call."""
        self.calls.pop(call, None)
        self._pieces.drop(call)

    def take(self, frame: link_pb2.AttachResponse) -> None:
        """Give a frame's content to its calls.

        Raises:
            BrokenFrameError: It breaks the link's rules. What came before the fault was given.
        """
        if frame.opening:
            self._events(frame.opening)
        if frame.HasField("deltas"):
            self._deltas(frame.deltas)
        if frame.closing:
            self._events(frame.closing)
        for piece in frame.pieces:
            self._piece(piece)
        for end in frame.ends:
            self._end(end)
        if frame.beats:
            self._beat(frame.beats)
        for number in frame.reading:
            if (call := self._call(number)) is not None:
                call.beat(moved=True)
        if frame.HasField("load"):
            self._on_load(frame.load)

    def _call(self, number: int) -> LinkCall | None:
        """The call of a number; None: it is over."""
        call = self.calls.get(number)
        if call is None and not 0 < number <= self._last:
            raise BrokenFrameError(f"there never was a call {number}")
        return call

    def _whole(self, number: int) -> LinkCall | None:
        """The same, of which no event is incomplete."""
        if number in self._pieces.parts:
            raise BrokenFrameError("an event came amid the pieces of another")
        return self._call(number)

    def _events(self, events: Sequence[link_pb2.CallEvent]) -> None:
        calls, pieces = self.calls, self._pieces.parts
        for event in events:
            number = event.call
            call = calls.get(number)
            if call is None or number in pieces:
                call = self._whole(number)
            if call is not None:
                call.take(event, own=False)

    def _deltas(self, columns: link_pb2.DeltaColumns) -> None:
        numbers, texts, counts = columns.call[:], columns.text[:], columns.token_count[:]
        indices, ids, choices = columns.token_index[:], columns.token_ids[:], columns.choice[:]
        rows = len(numbers)
        if not (len(texts) == len(counts) == len(indices) == rows and len(choices) in (0, rows)):
            raise BrokenFrameError("columns have different lengths")
        if sum(counts) != len(ids):
            raise BrokenFrameError("columns have not as many tokens as they say")
        at, calls, pieces = 0, self.calls, self._pieces.parts
        entries = zip(numbers, choices or repeat(0), indices, counts, texts, strict=False)
        for number, choice, index, count, text in entries:
            tokens = ids[at : at + count]
            at += count
            call = calls.get(number)
            if call is None or number in pieces:
                call = self._whole(number)
            if call is not None:
                call.tokens(choice, index, tokens, text)

    def _piece(self, piece: link_pb2.EventPiece) -> None:
        call = self._call(piece.call)
        if call is None:
            return
        try:
            data = self._pieces.add(piece)
            event = None if data is None else link_pb2.CallEvent.FromString(data)
        except FrameError as fault:
            raise BrokenFrameError(str(fault)) from None
        except DecodeError:
            raise BrokenFrameError("pieces make no event") from None
        if event is None:
            return
        if event.call != piece.call:
            raise BrokenFrameError("pieces make an event of another call")
        call.take(event, own=True)

    def _end(self, end: link_pb2.CallEnd) -> None:
        """End a call, also amid the pieces of an event, which then never is: that is its own affair."""
        call = self._call(end.call)
        if call is None:
            return
        if end.code == 0:
            call.end(attempt.broken() if end.call in self._pieces.parts else None)
            return
        code = _CODES.get(end.code, grpc.StatusCode.UNKNOWN)
        call.end(judge(read_status(code, end.message, end.details)))

    def _beat(self, beats: Sequence[link_pb2.EngineBeat]) -> None:
        """Tell calls that their worker lives, and those of an engine that has taken a step so."""
        moved = set()
        for beat in beats:
            if self._steps.get(beat.model) != beat.steps:
                self._steps[beat.model] = beat.steps
                moved.add(beat.model)
        if len(self._steps) > MOST_ENGINES:
            raise BrokenFrameError(f"over {MOST_ENGINES} engines beat")
        for call in tuple(self.calls.values()):
            # A model that has no engine of its own, such as an adapter, goes by all of them.
            call.beat(moved=call.model in moved if call.model in self._steps else bool(moved))
