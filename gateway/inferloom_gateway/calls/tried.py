"""The workers that one call has been to. Pure."""

from collections.abc import Iterator

from inferloom_gateway.fleet.member import Member


class Tried:
    """Who is not asked again: at all, until there is room, or for a moment.

    Args:
        model: What the call asks for.
    """

    def __init__(self, model: str) -> None:
        self.must_wait = False
        """Whether the gateway has asked workers again as often as it may, for now."""
        self._model = model
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

    def __contains__(self, member: object) -> bool:
        return isinstance(member, Member) and self._epochs.get(member) == member.epoch

    def __len__(self) -> int:
        return len(self._epochs | self._resting)

    def add(self, member: Member, *, crowded: bool) -> None:
        """Ask a worker no more; a crowded one only until there is room."""
        self._epochs[member] = member.epoch
        if crowded:
            self._crowded.append(member)

    def crowded(self, member: Member) -> bool:
        """Whether a worker said that it had no room, and was not let be asked again since."""
        return member in self and member in self._crowded

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

    def rest(self, member: Member, until: float) -> None:
        """Leave a worker alone until then."""
        self._resting[member] = until, member.epoch

    def rests_until(self, member: Member, now: float) -> float | None:
        """Until when a worker is left alone; None: it is not."""
        until, epoch = self._resting.get(member, (now, 0))
        return until if until > now and member.epoch == epoch else None

    def ends_of_rests(self, now: float) -> list[float]:
        """When those that are left alone may be asked again."""
        ends = (self.rests_until(member, now) for member in self._resting)
        return [until for until in ends if until is not None]

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

    def _there(self, member: Member) -> bool:
        return member.usable and self._model in member.models
