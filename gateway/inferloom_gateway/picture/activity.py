"""What is done now: requests and tokens a second, and how long they take. Pure; time is given in."""

from collections.abc import Iterable

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.picture.spread import RecentTimes, together

WINDOW_S = 10
"""Rates are means over so many seconds."""


class Rate:
    """What comes, a second, over the last whole seconds of the window."""

    def __init__(self) -> None:
        self._counts = [0] * (WINDOW_S + 1)
        self._seconds = [-1] * (WINDOW_S + 1)

    def add(self, count: int, now: float) -> None:
        """Count some."""
        second = int(now)
        place = second % (WINDOW_S + 1)
        if self._seconds[place] != second:
            self._seconds[place], self._counts[place] = second, 0
        self._counts[place] += count

    def read(self, now: float) -> float:
        """How many come a second."""
        second = int(now)
        known = zip(self._seconds, self._counts, strict=True)
        return sum(count for at, count in known if second - WINDOW_S <= at < second) / WINDOW_S


class Recent:
    """What is done, of all requests or of those for one model."""

    def __init__(self) -> None:
        self.running = 0
        self.requests = Rate()
        self.failures = Rate()
        self.tokens = Rate()
        self.first = RecentTimes()
        self.token = RecentTimes()
        self.total = RecentTimes()

    def read(self, now: float) -> pb.Activity:
        """In the contract's words."""
        return pb.Activity(
            running=self.running,
            requests_per_second=self.requests.read(now),
            failures_per_second=self.failures.read(now),
            tokens_per_second=self.tokens.read(now),
            first_token=self.first.read(now),
            token=self.token.read(now),
            total=self.total.read(now),
        )


def sum_of(activities: Iterable[pb.Activity]) -> pb.Activity:
    """What several processes do together."""
    some = list(activities)
    return pb.Activity(
        running=sum(each.running for each in some),
        requests_per_second=sum(each.requests_per_second for each in some),
        failures_per_second=sum(each.failures_per_second for each in some),
        tokens_per_second=sum(each.tokens_per_second for each in some),
        first_token=together(each.first_token for each in some),
        token=together(each.token for each in some),
        total=together(each.total for each in some),
    )
