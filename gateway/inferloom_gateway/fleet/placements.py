"""Where conversations were sent last. Pure."""

from collections import OrderedDict

from inferloom_gateway.fleet.member import Member

MOST_KEYS = 65_536
"""Keys that are remembered; beyond them the one that was not used for longest is forgotten."""


class Placements:
    """The worker that each key's last request went to."""

    def __init__(self) -> None:
        self._last: OrderedDict[int, Member] = OrderedDict()

    def get(self, key: int) -> Member | None:
        """The worker; it may be gone."""
        return self._last.get(key)

    def note(self, key: int, member: Member) -> None:
        """Remember a worker."""
        self._last[key] = member
        self._last.move_to_end(key)
        if len(self._last) > MOST_KEYS:
            self._last.popitem(last=False)
