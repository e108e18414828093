"""What a token of a draft costs a step, as measured of late. Pure.

It is a row of the step, and more than the rows of a prompt, which is what most is known of: a token is chosen
at it. So its price is measured by itself, in rows: what a step with drafts took beyond what it would have
taken without, for each of its draft tokens. Where tokens are drawn they cost more, so those have a price of
their own.
"""

MEMORY = 0.95
"""Weight of what is known relative to what the next step with drafts adds."""

REST = 0.999
"""What is left of it with each step without: a price that was found too high is found anew some time."""

PRIOR = 4.0
"""Draft tokens at the price of one row, to begin with."""

CAUTION, MOST_CAUTION = 1.15, 3.0
"""How much more a draft token must promise than it costs, to begin with and at most: what is measured is not
exact, and to win a little is not worth losing a little."""

LOSING, WINNING = 1.05, 0.995
"""What a step with drafts changes of that, as drafts of late brought less or more than they cost."""

MOST = 8.0
"""Rows per draft token that one step can tell at most: one that was held up by something else says little."""


class DraftPrice:
    """The price of one kind of draft tokens. ``row`` is what a row takes, in seconds, as far as is known at
    the time."""

    def __init__(self) -> None:
        self._tokens = self._seconds = self._worth = 0.0
        self._caution = CAUTION

    def observe(self, tokens: int, extra: float, worth: float, row: float) -> None:
        """Take in a step with ``tokens`` of drafts that took ``extra`` seconds more than one without. What it
        yielded beside what that would have is worth as many seconds as ``worth``."""
        extra = min(max(extra, 0.0), MOST * tokens * row)
        self._tokens = MEMORY * self._tokens + tokens
        self._seconds = MEMORY * self._seconds + extra
        self._worth = MEMORY * self._worth + worth
        change = LOSING if self._worth < self._seconds else WINNING
        self._caution = min(max(self._caution * change, CAUTION), MOST_CAUTION)

    def rest(self) -> None:
        """Take in a step without."""
        self._tokens *= REST
        self._seconds *= REST
        self._worth *= REST
        self._caution = max(CAUTION, self._caution * REST)

    def rows(self, row: float) -> float:
        """What a draft token must promise, in rows: what it costs, with caution."""
        return self._caution * (self._seconds / row + PRIOR) / (self._tokens + PRIOR)
