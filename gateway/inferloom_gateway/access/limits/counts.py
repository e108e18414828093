"""What counting is asked and answers, wherever it happens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from inferloom_gateway.access.api_key import Limits

MINUTE_S = 60.0

Kind = Literal["requests", "tokens", "concurrent"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a request counts for."""

    bucket: str
    """Its name, such as ``key:1f2e3d4c5b6a``, ``tenant:acme`` or ``model:chat``."""
    limits: Limits


class Level(NamedTuple):
    """How full a bucket is, the request that was just taken included."""

    requests: int
    tokens: int
    reset_s: float
    """Until the bucket is empty if nothing more comes."""


class Taken(NamedTuple):
    """A request, or more tokens of one, was counted."""

    slot: int
    """When: a number of the counter's own."""
    tokens: int
    """Tokens that are reserved."""
    levels: Sequence[Level]
    """Of each bucket, in the order that they were asked for."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was counted, because one bucket has no room."""

    ask: Ask
    kind: Kind
    used: int
    """What the bucket has of that kind."""
    wait_s: float | None
    """Until there is room if nothing more comes. None: there never is, or nobody knows."""
    levels: Sequence[Level]


class CountsAwayError(Exception):
    """Who counts does not answer."""


class Counts(Protocol):
    """Counts requests, tokens and what runs, for buckets that come and go. All asks of one call are counted,
    or none is."""

    async def take(self, asks: Sequence[Ask], tokens: int, *, enters: bool) -> Taken | Refused:
        """Count a request that ``enters``, or only more tokens of one that has.

        Raises:
            CountsAwayError: It is not known whether there is room.
        """

    def settle(self, asks: Sequence[Ask], taken: Sequence[Taken], used: int) -> None:
        """Count what a request used in place of what was reserved for it, and that it runs no more."""


def corrections(taken: Sequence[Taken], used: int) -> Iterator[tuple[int, int]]:
    """How to make ``used`` tokens of all that was reserved: slots, and what is to be added there.

    Less was used: taken back where it was reserved, the last first. More: added, at the time of settling.
    """
    over = used - sum(each.tokens for each in taken)
    if over > 0:
        yield taken[-1].slot if taken else 0, over
    for each in reversed(taken):
        if over >= 0:
            return
        part = max(over, -each.tokens)
        yield each.slot, part
        over -= part
