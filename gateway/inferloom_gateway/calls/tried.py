"""The workers that one call has been to. Pure."""

from collections.abc import Iterable, Iterator, Sequence

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
        self._resting: dict[Member, tuple[float, int]] = {}
        """The workers that would not have it just then, each with when it may be asked, and its epoch."""
        self._unable: dict[Member, int] = {}
        """Those that said that they cannot serve the model, each with its epoch."""
        self._freed: set[tuple[Member, int]] = set()
        """Those whose end gave it another attempt, with their epochs."""

    def __iter__(self) -> Iterator[Member]:
        return (member for member, epoch in self._epochs.items() if member.epoch == epoch)

    def __len__(self) -> int:
        return len(self._epochs | self._resting)

    def add(self, member: Member, *, crowded: bool) -> None:
        """Ask a worker no more; a crowded one only until there is room."""
        self._epochs[member] = member.epoch
        if crowded:
            self._crowded.append(member)

    @property
    def lost(self) -> list[Member]:
        """Those that do not count any more."""
        return [*(member for member in self if member not in self._crowded), *self.unable]

    @property
    def unable(self) -> list[Member]:
        """Those that said that they cannot serve the model, whatever the registry says."""
        return [member for member, epoch in self._unable.items() if member.epoch == epoch]

    def cannot(self, member: Member) -> None:
        """Note that a worker said that it cannot serve the model."""
        self._unable[member] = member.epoch

    def can(self, member: Member) -> None:
        """Note that a worker said, or showed, something else."""
        self._unable.pop(member, None)

    def frees(self, member: Member) -> bool:
        """Whether the end of a worker gives another attempt, which it does once."""
        before = len(self._freed)
        self._freed.add((member, member.epoch))
        return len(self._freed) > before

    def believe(self, members: Iterable[Member], now: float) -> None:
        """Once one has said that it cannot, leave those alone as well that have lately said so to others: of
        as many workers as say so not each is asked by each call."""
        if not self.unable:
            return
        known = [*self, *self.resting(now)]
        for member in members:
            until = member.health.unable_until(self._ask.model, now)
            if until is not None and member not in known:
                self.cannot(member)
                self.rest(member, until)

    def rest(self, member: Member, until: float) -> None:
        """Leave a worker alone until then."""
        self._resting[member] = until, member.epoch

    def again(self) -> None:
        """Workers that had no room may be asked once more."""
        for member in self._crowded:
            self._epochs.pop(member, None)
        self._crowded.clear()
        self.must_wait = False

    def forgive_absent(self) -> None:
        """Who cannot be asked now may be, once that changes."""
        for known in (self._epochs, self._resting, self._unable):
            for member in [each for each in known if not self._there(each)]:
                del known[member]
        self._crowded = [member for member in self._crowded if self._there(member)]

    def forget(self) -> None:
        """Any worker may be asked."""
        self._epochs, self._crowded, self._resting, self._unable = {}, [], {}, {}
        self._freed.clear()

    def resting(self, now: float) -> list[Member]:
        """Those that are left alone now."""
        return [each for each, (until, epoch) in self._resting.items() if until > now and each.epoch == epoch]

    def ends_of_rests(self, now: float) -> list[float]:
        """When they may be asked again."""
        return [self._resting[member][0] for member in self.resting(now)]

    def asked_again_at(self, holding: Sequence[Member], now: float) -> float | None:
        """When the first of these may be asked again, where each is there and has only said that it cannot
        now. None: one may come back that is lost, stopping or starting."""
        tried, resting = list(self), self.resting(now)
        said = [each for each in holding if each.usable and each in resting and each not in tried]
        if not said or len(said) < len(holding):
            return None
        return min(self._resting[each][0] for each in said)

    def full_s(self, holding: Iterable[Member], now: float) -> float | None:
        """In how many seconds one of these may be asked, where all that could be have no room; None: one may
        be asked now, or there is none."""
        able = [member for member in holding if self._able(member)]
        if not self.must_wait and any(self._may_ask(member, now) for member in able):
            return None
        known = [self._full_until(member, now) for member in able]
        times = [until for until in known if until is not None]
        return max(0.0, min(times) - now) if times else None

    def _there(self, member: Member) -> bool:
        return member.usable and self._ask.model in member.models

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
