"""Where the access log, metrics and traces listen: the few points of a request's life, told once each."""

from __future__ import annotations

from collections.abc import Sequence
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

    @property
    def frame_listeners(self) -> Sequence[Listener]:
        """Whose :meth:`on_frame` is to be called: what is done for every token is done without a detour."""
        return () if type(self).on_frame is Listener.on_frame else (self,)

    def on_ended(self, record: Record) -> None:
        """The request is over, whichever way; the record is complete."""


class Listeners(Listener):
    """Tells several, each of what it listens to: the rest costs nothing."""

    def __init__(self) -> None:
        self._started: list[Listener] = []
        self._called: list[Listener] = []
        self._attempt: list[Listener] = []
        self._moved: list[Listener] = []
        self._first_token: list[Listener] = []
        self._frame: list[Listener] = []
        self._ended: list[Listener] = []

    def add(self, listener: Listener) -> None:
        """Tell ``listener`` too, from now on."""
        hears = type(listener)
        for own, base, those in (
            (hears.on_started, Listener.on_started, self._started),
            (hears.on_called, Listener.on_called, self._called),
            (hears.on_attempt, Listener.on_attempt, self._attempt),
            (hears.on_moved, Listener.on_moved, self._moved),
            (hears.on_first_token, Listener.on_first_token, self._first_token),
            (hears.on_frame, Listener.on_frame, self._frame),
            (hears.on_ended, Listener.on_ended, self._ended),
        ):
            if own is not base:
                those.append(listener)

    def on_started(self, record: Record) -> None:
        """Tell those that listen; so do the others."""
        for listener in self._started:
            listener.on_started(record)

    def on_called(self, record: Record, attempt: Attempt, request: Any) -> None:
        """See :meth:`on_started`."""
        for listener in self._called:
            listener.on_called(record, attempt, request)

    def on_attempt(self, record: Record, attempt: Attempt) -> None:
        """See :meth:`on_started`."""
        for listener in self._attempt:
            listener.on_attempt(record, attempt)

    def on_moved(self, record: Record, move: Move) -> None:
        """See :meth:`on_started`."""
        for listener in self._moved:
            listener.on_moved(record, move)

    def on_first_token(self, record: Record) -> None:
        """See :meth:`on_started`."""
        for listener in self._first_token:
            listener.on_first_token(record)

    def on_frame(self, record: Record, count: int) -> None:
        """See :meth:`on_started`."""
        for listener in self._frame:
            listener.on_frame(record, count)

    @property
    def frame_listeners(self) -> Sequence[Listener]:
        """Those that listen."""
        return self._frame

    def on_ended(self, record: Record) -> None:
        """See :meth:`on_started`."""
        for listener in self._ended:
            listener.on_ended(record)
