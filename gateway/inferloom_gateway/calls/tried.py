"""The workers that one call has been to. Pure."""

from collections.abc import Iterable, Iterator

from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Member


class Tried:
    """Who is not asked again: at all, until there is room, or for a moment.

    Args:
        ask: What the request asks of a worker.
    """

    def __init__(self, ask: Ask) -> None:
        self.must_wait = False
        """Whether the gateway has asked workers again as often as it may, for now."""
        self._ask = ask
        self._epochs: dict[Member, int] = {}
        """With each, its epoch: one that came back under its name is another."""
        self._crowded: list[Member] = []
        """Those of them that had no room, which they may have later."""
        self._resting: dict[Member, float] = {}
        """The workers that would not go on with it just then, each with when it may be asked again."""

    def __iter__(self) -> Iterator[Member]:
        return (member for member, epoch in self._epochs.items() if member.epoch == epoch)

    def __len__(self) -> int:
        return len(self._epochs)

    def add(self, member: Member, *, crowded: bool) -> None:
        """Ask a worker no more; a crowded one only until there is room."""
        self._epochs[member] = member.epoch
        if crowded:
            self._crowded.append(member)

    @property
    def lost(self) -> list[Member]:
        """Those that are asked no more at all."""
        return [member for member in self if member not in self._crowded]

    def rest(self, member: Member, until: float) -> None:
        """Leave a worker alone until then."""
        self._resting[member] = until

    def again(self) -> None:
        """Workers that had no room may be asked once more."""
        for member in self._crowded:
            self._epochs.pop(member, None)
        self._crowded.clear()
        self.must_wait = False

    def forgive_absent(self) -> None:
        """Who cannot be asked now may be, once that changes."""
        self._epochs = {member: epoch for member, epoch in self._epochs.items() if member.usable}

    def forget(self) -> None:
        """Any worker may be asked."""
        self._epochs, self._crowded, self._resting = {}, [], {}

    def resting(self, now: float) -> list[Member]:
        """Those that are left alone now."""
        return [member for member, until in self._resting.items() if until > now]

    def ends_of_rests(self, now: float) -> list[float]:
        """When they may be asked again."""
        return [until for until in self._resting.values() if until > now]

    def full_s(self, holding: Iterable[Member], now: float) -> float | None:
        """In how many seconds one of these may be asked, where all that could be have no room; None: one may
        be asked now, or there is none."""
        able = [member for member in holding if self._able(member)]
        if not self.must_wait and any(self._may_ask(member, now) for member in able):
            return None
        known = [self._full_until(member, now) for member in able]
        times = [until for until in known if until is not None]
        return max(0.0, min(times) - now) if times else None

    def _able(self, member: Member) -> bool:
        """Whether a worker may still be what answers."""
        task = self._ask.task
        able = task is None or task in member.models[self._ask.model].tasks
        return member.usable and able and member not in self.lost

    def _may_ask(self, member: Member, now: float) -> bool:
        return member not in self._crowded and not member.health.refuses(self._ask.model, now)

    def _full_until(self, member: Member, now: float) -> float | None:
        until = member.health.full_until(self._ask.model, now)
        return now if until is None and member in self._crowded else until
