"""A sliding minute of requests and tokens, and a count of what runs, in a row of integers. Pure.

It is a sliding window log whose entries are gathered in slots of a tenth of a second. A slot counts until its
last moment is a minute old, so no minute ever holds more than the limit, and what is held back longer than
needed is a slot, 0.17 % of a minute. Unlike a log it takes the same room whatever the limit, and unlike token
buckets (GCRA among them), which let a full bucket and a refill pass within one minute, it never lets more
pass than the limit says. A row is plain integers, so that it can lie in memory that processes share.
"""

from collections.abc import MutableSequence

from inferloom_gateway.access.api_key import Limits
from inferloom_gateway.access.limits.counts import MINUTE_S, Kind, Level

SLOT_S = 0.1
SLOTS = 601
"""A minute and the slot that is being filled."""

SEATS = 64
"""Processes that may count in one row."""

_NAME, _HEAD, _REQUESTS, _TOKENS, _RUNNING, _LAST, _SEATS = 0, 2, 3, 4, 5, 6, 7
_BY_REQUESTS = _SEATS + SEATS
_BY_TOKENS = _BY_REQUESTS + SLOTS
ROW = _BY_TOKENS + SLOTS
"""Integers in a row."""

NAME_BYTES = 8 * _HEAD
"""Bytes at its beginning; zeros: it is nobody's."""

Words = MutableSequence[int] | memoryview


class Window:
    """One bucket's row: ``words[at : at + ROW]``, zeros to begin with. Slots are numbered by the clock."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: "Words", at: int = 0) -> None:
        self._words = words
        self._at = at

    @property
    def name(self) -> tuple[int, int]:
        """Two integers that say whose row it is; zeros: nobody's."""
        return self._words[self._at], self._words[self._at + 1]

    def belongs(self, name: tuple[int, int]) -> bool:
        """Whether it is the row of this one."""
        words, at = self._words, self._at
        return words[at] == name[0] and words[at + 1] == name[1]

    @property
    def requests(self) -> int:
        """Requests of the last minute."""
        return self._words[self._at + _REQUESTS]

    @property
    def tokens(self) -> int:
        """Tokens of the last minute, reserved or used."""
        return self._words[self._at + _TOKENS]

    @property
    def running(self) -> int:
        """Requests that run."""
        return self._words[self._at + _RUNNING]

    def claim(self, name: tuple[int, int]) -> None:
        """Make it the row of another bucket, empty."""
        words, at = self._words, self._at
        for index in range(at, at + ROW):
            words[index] = 0
        words[at], words[at + 1] = name

    def idle(self, slot: int) -> bool:
        """Whether nothing runs, and nothing was taken for a minute."""
        return not self.running and slot - self._words[self._at + _HEAD] >= SLOTS

    def advance(self, slot: int) -> None:
        """Forget what is older than a minute in ``slot``."""
        words, at = self._words, self._at
        head = words[at + _HEAD]
        if slot <= head:  # now, or a clock that another process read a moment later
            return
        for past in range(max(head + 1, slot - SLOTS + 1), slot + 1):
            index = at + past % SLOTS
            words[at + _REQUESTS] -= words[index + _BY_REQUESTS]
            words[at + _TOKENS] -= words[index + _BY_TOKENS]
            words[index + _BY_REQUESTS] = words[index + _BY_TOKENS] = 0
        words[at + _HEAD] = slot

    def refuses(self, limits: Limits, tokens: int, *, enters: bool) -> tuple[Kind, int, float | None] | None:
        """Why a request finds no room: of what there is too much, how much, and until when in seconds (None:
        for ever, or until something ends). It must have been advanced."""
        words, at = self._words, self._at
        if enters:
            most = limits.concurrent
            if most is not None and words[at + _RUNNING] >= most:
                return "concurrent", self.running, None
            most = limits.requests_per_minute
            if most is not None and words[at + _REQUESTS] >= most:
                return (
                    "requests",
                    self.requests,
                    self._wait(_BY_REQUESTS, self.requests + 1 - most) if most else None,
                )
        most = limits.tokens_per_minute
        if most is not None and (over := words[at + _TOKENS] + tokens - most) > 0:
            return "tokens", self.tokens, self._wait(_BY_TOKENS, over) if tokens <= most else None
        return None

    def take(self, tokens: int, seat: int, *, enters: bool) -> int:
        """Count a request that has room; return its slot."""
        words, at = self._words, self._at
        head = words[at + _HEAD]
        index = at + head % SLOTS
        if enters:
            words[index + _BY_REQUESTS] += 1
            words[at + _REQUESTS] += 1
            words[at + _SEATS + seat] += 1
            words[at + _RUNNING] += 1
        words[index + _BY_TOKENS] += tokens
        words[at + _TOKENS] += tokens
        words[at + _LAST] = head
        return int(head)

    def correct(self, slot: int, tokens: int) -> None:
        """Count fewer tokens for what was taken in ``slot``, or with a number above zero more of them now."""
        words, at = self._words, self._at
        head = words[at + _HEAD]
        if tokens > 0:
            slot = head
        elif slot <= head - SLOTS:
            return  # it counts no more
        index = at + slot % SLOTS + _BY_TOKENS
        tokens = max(tokens, -words[index])
        words[index] += tokens
        words[at + _TOKENS] += tokens

    def leave(self, seat: int) -> None:
        """Count that a request of ``seat`` has ended."""
        words, at = self._words, self._at
        if words[at + _SEATS + seat] > 0:
            words[at + _SEATS + seat] -= 1
            words[at + _RUNNING] -= 1

    def repair(self, seat: int) -> None:
        """Make the sums anew, without what runs on ``seat``: its process was ended, maybe amid a change."""
        words, at = self._words, self._at
        words[at + _SEATS + seat] = 0
        for total, first, count in (
            (_REQUESTS, _BY_REQUESTS, SLOTS),
            (_TOKENS, _BY_TOKENS, SLOTS),
            (_RUNNING, _SEATS, SEATS),
        ):
            words[at + total] = sum(words[at + first : at + first + count])

    def level(self) -> Level:
        """How full it is."""
        words, at = self._words, self._at
        requests, tokens = words[at + _REQUESTS], words[at + _TOKENS]
        left = SLOTS - words[at + _HEAD] + words[at + _LAST] if requests or tokens else 0
        return Level(requests, tokens, max(0, left) * SLOT_S)

    def _wait(self, kind: int, wanted: int) -> float:
        """Seconds until ``wanted`` of a kind are forgotten."""
        words, at = self._words, self._at
        head = words[at + _HEAD]
        for past in range(head - SLOTS + 1, head + 1):
            wanted -= words[at + kind + past % SLOTS]
            if wanted <= 0:
                return float(past + SLOTS - head) * SLOT_S
        return MINUTE_S
