"""Where the events of a call go: whoever takes them is called with each, on the event loop."""

from typing import Protocol, TypeVar

from inferloom_gateway.calls.tokens import Tokens

EventT = TypeVar("EventT", contravariant=True)
ErrorT = TypeVar("ErrorT", contravariant=True, bound=Exception)


class EventSink(Protocol[EventT, ErrorT]):
    """Takes events in their order. Its methods are quick, and do not raise.

    A generation's Deltas come either as events or, where they are nothing but that, as tokens.
    """

    def take(self, event: EventT) -> None:
        """Take the next event."""

    def tokens(self, tokens: Tokens) -> None:
        """Take the next Delta of a generation."""

    def end(self, error: ErrorT | None) -> None:
        """Learn that nothing more comes, once; None: all has come."""


class Flow(Protocol):
    """What comes can be held back. Some more comes all the same: what is under way already."""

    def pause(self) -> None:
        """Want nothing for now."""

    def resume(self) -> None:
        """Want more."""
