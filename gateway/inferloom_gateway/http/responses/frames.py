"""Typed events as server-sent events, numbered."""

from collections.abc import Iterable

from inferloom_gateway.http.json_line import json_line
from inferloom_gateway.http.sse import framed
from inferloom_gateway.http.translate.responses.parts import Event
from inferloom_mesh.errors import InferloomError


class Numbering:
    """Numbers the events of one stream, from 0."""

    def __init__(self, first: int = 0) -> None:
        self.next = first

    def lines(self, events: Iterable[Event]) -> list[tuple[str, bytes]]:
        """The type of each event, and its JSON."""
        found = []
        for event in events:
            found.append((event["type"], json_line({**event, "sequence_number": self.next})))
            self.next += 1
        return found

    def frames(self, events: Iterable[Event]) -> bytes:
        """The bytes of a stream."""
        return b"".join(framed(line, kind) for kind, line in self.lines(events))


def error_frame(error: InferloomError, number: int) -> bytes:
    """The event that a stream cannot go on, which says nothing of the response."""
    event = {"type": "error", "code": error.row.code, "message": error.message, "param": error.param}
    return Numbering(number).frames([event])
