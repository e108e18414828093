"""What is left alone for a while: batches, chunks and keys that were told 'not now'. Pure."""

LONGEST_S = 60.0
_LONGEST_GROWN_S = 30.0
_FIRST_S = 0.5


class Holds:
    """Until when each is left alone, by its name. Moments are seconds on any one clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._refusals: dict[str, int] = {}

    def refused(self, name: str, now: float, retry_after: float | None) -> None:
        """Leave one alone, longer each time that it is refused again; refusals meanwhile count once."""
        if self.held(name, now):
            return
        count = self._refusals.get(name, 0)
        self._refusals[name] = min(count + 1, 16)
        wait = max(min(_LONGEST_GROWN_S, _FIRST_S * 2.0**count), retry_after or 0.0)
        self._until[name] = now + min(LONGEST_S, wait)

    def hold(self, name: str, until: float) -> None:
        """Leave one alone until a moment, if it is not for longer already."""
        self._until[name] = max(until, self._until.get(name, until))

    def good(self, name: str) -> None:
        """Hear that one was taken."""
        self._refusals.pop(name, None)

    def until(self, name: str, now: float) -> float:
        """When one may be tried again."""
        return max(now, self._until.get(name, now))

    def held(self, name: str, now: float) -> bool:
        """Whether one is left alone."""
        return self._until.get(name, now) > now

    def names(self, now: float) -> list[str]:
        """All that are left alone; those that have not been for long are forgotten."""
        for name in [name for name, until in self._until.items() if until + LONGEST_S < now]:
            del self._until[name]
            self._refusals.pop(name, None)
        return [name for name, until in self._until.items() if until > now]
