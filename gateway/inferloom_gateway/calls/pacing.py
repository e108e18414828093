"""What one call tells of how fast its workers are. Pure; time is given in."""

from inferloom_gateway.fleet.pace import Pace

SHORT_S = 0.1
"""A call may be held back for less than this and is measured all the same: whoever reads event by event holds
each back for a moment."""


class _Held:
    """Takes the count of tokens that come while nothing is wanted."""

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = 0


class Pacing:
    """Measures one attempt after another of one call.

    Time in which nothing is wanted of a worker tells nothing of it, and neither do the tokens that it made
    meanwhile, which then come together. So it is measured anew from the next event that comes.
    """

    __slots__ = ("_began", "_held", "_held_since", "_late", "_pace", "_waited", "counted")

    def __init__(self) -> None:
        self.counted: Pace | _Held | None = None
        """What the tokens that come are added to. None: what comes next does not count, and :meth:`came` is
        to be told of it."""
        self._pace: Pace | None = None
        """The worker's, once the first token has come."""
        self._waited: float | None = None
        """Seconds from the attempt's beginning to its first token. None: none came, or it was held back."""
        self._began = 0.0
        self._late = False
        """Whether the attempt was held back for long before its first token."""
        self._held_since: float | None = None
        """Since when nothing is wanted. None: something is."""
        self._held: _Held | None = None
        """What has come since. None: what comes does not count."""

    def begin(self, now: float) -> None:
        """Note the beginning of an attempt."""
        self._began, self._late, self._waited = now, False, None

    def first(self, pace: Pace, now: float) -> None:
        """Note the attempt's first token, and what measures its worker."""
        self._pace = pace
        since = self._held_since
        if since is None:
            self.came(now)
        else:
            self.counted = self._held = _Held()
        if not self._late and (since is None or now - since < SHORT_S):
            self._waited = now - self._began

    def came(self, now: float) -> None:
        """Note tokens that do not count: the worker's time does from now on, if something is wanted."""
        if self._pace is not None and self._held_since is None:
            self._pace.begin(now)
            self.counted = self._pace

    def want(self, wanted: bool, now: float) -> None:
        """Note whether something is wanted from now on, which has changed."""
        since, self._held_since = self._held_since, None if wanted else now
        if since is None:
            if self.counted is not None and self._pace is not None:
                self._pace.end(now)
                self.counted = self._held = _Held()
            return
        held, self._held, self.counted = self._held, None, None
        if now - since >= SHORT_S:
            self._late = True
        elif held is not None and self._pace is not None:
            self._pace.begin(now, since)
            self._pace.tokens += held.tokens
            self.counted = self._pace

    def completed(self, queue_s: float, tokens: int, now: float) -> None:
        """Note how long the attempt waited in a queue, and the tokens of its prompt that were read."""
        if self._pace is not None and self._waited is not None:
            self._pace.read(self._waited - queue_s, tokens, now)

    def end(self, now: float) -> None:
        """Note the end of the attempt, or that nobody waits for it any more. Again, it changes nothing."""
        if self._pace is not None and self.counted is self._pace:
            self._pace.end(now)
        self._pace = self._held = self.counted = None
