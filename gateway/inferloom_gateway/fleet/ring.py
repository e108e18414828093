"""A hash ring. Pure.

Karger et al., "Consistent hashing and random trees" (1997): each worker has some points on a ring of 64-bit
numbers, and a key belongs to the worker of the next point. A worker that comes or goes moves its own keys
only.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import chain

from inferloom_gateway.fleet.member import Member

POINTS = 32
"""Points of each worker; with more, keys are dealt out more evenly, and changes take longer."""

_MASK = 2**64 - 1


def mix(value: int) -> int:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Ring:
    """Workers on a ring."""

    def __init__(self, members: Iterable[Member], points: int = POINTS) -> None:
        self._of = points
        self._points: list[int] = []
        self._owners: dict[int, Member] = {}
        self._members: set[Member] = set()
        self.update(members)

    def __len__(self) -> int:
        """How many workers are on it."""
        return len(self._members)

    def __contains__(self, member: object) -> bool:
        """Whether a worker is on it."""
        return member in self._members

    def update(self, members: Iterable[Member]) -> None:
        """Have these workers on it, and no others. It takes time for those that come and go only."""
        wanted = set(members)
        coming, going = wanted - self._members, self._members - wanted
        for member in going:
            for point in self._points_of(member):
                if self._owners.get(point) is member:
                    del self._owners[point]
                    del self._points[bisect_left(self._points, point)]
        many = len(coming) * 8 > len(wanted)
        for member in sorted(coming, key=lambda each: each.id):
            for point in self._points_of(member):
                if self._owners.setdefault(point, member) is member:
                    if many:
                        self._points.append(point)
                    else:
                        insort(self._points, point)
        if many:
            self._points.sort()
        self._members = wanted

    def walk(self, key: int) -> Iterator[Member]:
        """Each worker once, in the order in which their points follow the key."""
        points, owners = self._points, self._owners
        start = bisect_right(points, key)
        seen = set()
        for at in chain(range(start, len(points)), range(start)):
            member = owners[points[at]]
            if member not in seen:
                seen.add(member)
                yield member

    def _points_of(self, member: Member) -> Iterator[int]:
        point = member.hash
        for _ in range(self._of):
            point = mix((point + 0x9E3779B97F4A7C15) & _MASK)
            yield point
