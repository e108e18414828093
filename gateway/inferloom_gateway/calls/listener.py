"""Where the access log, metrics and traces listen: the few points of a request's life, told once each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inferloom_gateway.calls.records import Attempt, Move, Record


class Listener:
    """Is told of every request. Override what is of interest; it must be quick, and must not raise."""

    def on_started(self, record: Record) -> None:
        """A request came in."""

    def on_called(self, record: Record, attempt: Attempt, request: Any) -> None:
        """An attempt is about to begin, with ``request`` as its worker gets it; none of it is to be kept."""

    def on_attempt(self, record: Record, attempt: Attempt) -> None:
        """An attempt ended: its worker answered for good, or failed (``attempt.error``)."""

    def on_moved(self, record: Record, move: Move) -> None:
        """A request goes on at another worker, which has accepted it."""

    def on_first_token(self, record: Record) -> None:
        """The first token or vector came."""

    def on_frame(self, record: Record, count: int) -> None:
        """An event with ``count`` tokens or vectors came, the first one too."""

    def on_ended(self, record: Record) -> None:
        """The request is over, whichever way; the record is complete."""


class Listeners(Listener):
    """Tells several; those that do not listen to frames cost a frame nothing."""

    def __init__(self) -> None:
        self._all: list[Listener] = []
        self._of_frames: list[Listener] = []

    def add(self, listener: Listener) -> None:
        """Tell ``listener`` too, from now on."""
        self._all.append(listener)
        if type(listener).on_frame is not Listener.on_frame:
            self._of_frames.append(listener)

    def on_started(self, record: Record) -> None:
        """Tell all."""
        for listener in self._all:
            listener.on_started(record)

    def on_called(self, record: Record, attempt: Attempt, request: Any) -> None:
        """Tell all."""
        for listener in self._all:
            listener.on_called(record, attempt, request)

    def on_attempt(self, record: Record, attempt: Attempt) -> None:
        """Tell all."""
        for listener in self._all:
            listener.on_attempt(record, attempt)

    def on_moved(self, record: Record, move: Move) -> None:
        """Tell all."""
        for listener in self._all:
            listener.on_moved(record, move)

    def on_first_token(self, record: Record) -> None:
        """Tell all."""
        for listener in self._all:
            listener.on_first_token(record)

    def on_frame(self, record: Record, count: int) -> None:
        """Tell those that listen to frames."""
        for listener in self._of_frames:
            listener.on_frame(record, count)

    def on_ended(self, record: Record) -> None:
        """Tell all."""
        for listener in self._all:
            listener.on_ended(record)
