"""The workers that hold the same models, as routing sees them."""

from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.ring import Ring
from inferloom_gateway.fleet.standing import Standing


class Group:
    """Workers in a fixed order, on a ring that is made when it is first needed.

    Models that the same workers hold, such as adapters of one base, have one group.
    """

    def __init__(self, members: tuple[Member, ...]) -> None:
        self.members = members
        self.standing = Standing()
        """What they had to do when that was last counted."""
        self._ring: Ring | None = None
        self._stale = False
        self._zones: dict[str, Group] | None = None
        self._where = tuple(member.zone for member in members)

    @property
    def ring(self) -> Ring:
        """The ring."""
        if self._ring is None:
            self._ring = Ring(self.members)
        elif self._stale:
            self._ring.update(self.members)
        self._stale = False
        return self._ring

    def take_ring(self, before: "Group") -> None:
        """Change the ring of a group that is no longer used, instead of making one."""
        if self._ring is None and before._ring is not None:
            self._ring, before._ring, self._stale = before._ring, None, True

    def zone(self, name: str) -> "Group | None":
        """The workers of one zone; None: none or all of them are there."""
        if self._zones is None:
            zones: dict[str, list[Member]] = {}
            for member in self.members:
                zones.setdefault(member.zone, []).append(member)
            self._zones = {zone: Group(tuple(found)) for zone, found in zones.items()}
        return self._zones.get(name) if len(self._zones) > 1 else None

    def moved(self) -> bool:
        """Whether one of them has changed its zone since the group was made."""
        return self._where != tuple(member.zone for member in self.members)
