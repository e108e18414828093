"""Which arguments there must be together, and how many, where they stand between tags. Pure.

Arguments come in the order of the schema. So a state is which of the names that matter were given, and how
many arguments: a number of rules, which is bounded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferloom_worker.constrain.schema_places import ANNOTATIONS

MOST_STATES = 20_000
"""Over all places, as they are found."""

MOST_RULES = 1024
"""Those of them that differ in what may follow: each is a rule."""

_COUNTS = ("minProperties", "maxProperties")
_COMBINED = ("allOf", "anyOf", "oneOf")
_TOGETHER = ("dependentRequired",)
CONDITIONS = (*_COUNTS, *_COMBINED, *_TOGETHER, "not")
"""Keywords of all arguments that can be of nothing but which there are."""

MOST_WORK = 100_000
"""Looks at the parts of a condition, for all states of a function's arguments."""

MOST_COUNTED = 2**20
"""Arguments, beyond which they are not counted: no answer has so many."""

_DEEPEST = 16

Given = tuple[frozenset[str], int]
"""The names that matter and were given, and how many arguments, up to the largest number that matters."""


def is_of_presence(condition: Any, depth: int = 0) -> bool:
    """Whether a schema says nothing of an object but which properties it has, and how many."""
    if isinstance(condition, bool):
        return True
    if not isinstance(condition, dict) or depth > _DEEPEST:
        return False
    for keyword, value in condition.items():
        if keyword in _COMBINED:
            if not all(is_of_presence(part, depth + 1) for part in value):
                return False
        elif keyword == "not":
            if not is_of_presence(value, depth + 1):
                return False
        elif keyword == "properties":
            if not all(part is True or part is False or part == {} for part in value.values()):
                return False
        elif keyword not in (*_COUNTS, *_TOGETHER, "required", "type") and keyword not in ANNOTATIONS:
            return False
    return True


def names_within(condition: Any) -> Iterator[str]:
    """The names that a condition is about."""
    if not isinstance(condition, dict):
        return
    yield from condition.get("required", ())
    yield from condition.get("properties", ())
    for name, others in condition.get("dependentRequired", {}).items():
        yield name
        yield from others
    for part in _parts(condition):
        yield from names_within(part)


def _numbers_within(condition: Any) -> Iterator[int]:
    if isinstance(condition, dict):
        yield from (condition[keyword] for keyword in _COUNTS if keyword in condition)
        for part in _parts(condition):
            yield from _numbers_within(part)


def _size(condition: Any) -> int:
    """The looks that telling whether a condition holds takes."""
    if not isinstance(condition, dict):
        return 1
    others = condition.get("dependentRequired", {}).values()
    own = 1 + sum(len(condition.get(keyword, ())) for keyword in ("required", "properties"))
    return own + sum(1 + len(names) for names in others) + sum(map(_size, _parts(condition)))


def _parts(condition: Mapping[str, Any]) -> Iterator[Any]:
    for keyword in _COMBINED:
        yield from condition.get(keyword, ())
    if "not" in condition:
        yield condition["not"]


def holds(condition: Any, names: frozenset[str], count: int) -> bool:
    """Whether an object with these of the names that matter, and so many properties, conforms."""
    if isinstance(condition, bool):
        return condition
    return (
        "object" in condition.get("type", "object")
        and names.issuperset(condition.get("required", ()))
        and condition.get("minProperties", 0) <= count <= condition.get("maxProperties", count)
        and not any(part is False and name in names for name, part in condition.get("properties", {}).items())
        and all(
            names.issuperset(others)
            for name, others in condition.get("dependentRequired", {}).items()
            if name in names
        )
        and all(holds(part, names, count) for part in condition.get("allOf", ()))
        and ("anyOf" not in condition or any(holds(part, names, count) for part in condition["anyOf"]))
        and ("oneOf" not in condition or sum(holds(part, names, count) for part in condition["oneOf"]) == 1)
        and ("not" not in condition or not holds(condition["not"], names, count))
    )


@dataclass(frozen=True, slots=True)
class Last:
    """What may follow the listed arguments."""

    none: bool
    """Whether nothing need follow."""
    most: int | None
    """Other arguments that may. None: any number."""


class Presence:
    """The states of one function's arguments.

    Args:
        names: Those that are listed, in their order.
        needed: Those that must be given.
        possible: Those that can be.
        more: Whether there may be others.
        condition: What all together must be.
    """

    def __init__(
        self,
        names: Sequence[str],
        needed: frozenset[str],
        possible: frozenset[str],
        condition: Mapping[str, Any],
        *,
        more: bool,
    ) -> None:
        self._names = names
        self._needed = needed
        self._possible = possible
        self._condition = condition
        self._more = more
        self._matter = frozenset(names_within(condition))
        numbers = set(_numbers_within(condition))
        self._furthest = max(numbers, default=-1) + 1
        self._changes = sorted(numbers | {number + 1 for number in numbers})
        self._size = _size(condition)
        self._left = MOST_WORK
        self._lasts: dict[Given, Last] = {}
        self.fits = True
        """Whether the states are no more than may be."""
        self.levels = self._reached()
        """Of each place, the states from which arguments can be completed, numbered: those after which the
        same may follow have one number."""
        self._number()

    def begin(self) -> Given:
        """Where nothing was given."""
        return frozenset(), 0

    def after(self, given: Given, name: str) -> Given:
        """Where this was given too."""
        names, count = given
        return names | ({name} & self._matter), min(count + 1, self._furthest)

    def ways(self, at: int, given: Given) -> tuple[Given | None, Given | None]:
        """Where the argument at this place is given, and where it is not; None: it cannot be so."""
        name, there = self._names[at], self.levels[at + 1]
        with_ = self.after(given, name) if name in self._possible else None
        without = given if name not in self._needed else None
        return (with_ if with_ in there else None), (without if without in there else None)

    def last(self, given: Given) -> Last:
        """What may follow at the end. The same name may come twice, so of several there may be only one."""
        if given not in self._lasts:
            self._lasts[given] = self._last(*given)
        return self._lasts[given]

    @property
    def work(self) -> int:
        """Looks that were taken."""
        return MOST_WORK - self._left

    def _last(self, names: frozenset[str], count: int) -> Last:
        none = self._holds(names, count)
        if not self._more:
            return Last(none, 0)
        # Between the numbers that the condition has, it is the same for all.
        for number in (count + 1, *(number for number in self._changes if number > count + 1)):
            if number - count > MOST_COUNTED:
                break
            if not self._holds(names, number):
                return Last(none, number - count - 1)
        return Last(none, None)

    def _holds(self, names: frozenset[str], count: int) -> bool:
        """Whether the condition does; no, where that takes too long."""
        self._left -= self._size
        return self._left >= 0 and holds(self._condition, names, count)

    def _reached(self) -> list[dict[Given, int]]:
        levels: list[dict[Given, int]] = [{self.begin(): 0}]
        states = 0
        for name in self._names:
            level: dict[Given, int] = {}
            self._left -= len(levels[-1]) * (1 + len(self._matter) // 64)
            if self._left < 0:
                self.fits = False
                return [{} for _ in range(len(self._names) + 1)]
            for given in levels[-1]:
                if name in self._possible:
                    level.setdefault(self.after(given, name), len(level))
                if name not in self._needed:
                    level.setdefault(given, len(level))
            states += len(level)
            if states > MOST_STATES:
                self.fits = False
                return [{} for _ in range(len(self._names) + 1)]
            levels.append(level)
        return levels

    def _number(self) -> None:
        """From the end on: what leads nowhere is left out."""
        rules = 0
        for at in reversed(range(len(self.levels))):
            numbers: dict[object, int] = {}
            for given in list(self.levels[at]):
                if self._left < 0:
                    break
                if (follows := self._follows(at, given)) is None:
                    del self.levels[at][given]
                else:
                    self.levels[at][given] = numbers.setdefault(follows, len(numbers))
            rules += len(numbers)
        self.fits = self.fits and self._left >= 0 and rules <= MOST_RULES + len(self.levels)

    def _follows(self, at: int, given: Given) -> object:
        """What may follow a state, the same for those that are alike. None: nothing."""
        if at == len(self._names):
            last = self.last(given)
            return None if last == Last(none=False, most=0) else last
        ways = self.ways(at, given)
        if ways == (None, None):
            return None
        return tuple(None if way is None else self.levels[at + 1][way] for way in ways)

    def apart(self, at: int) -> dict[int, Given]:
        """One of the states of each number at a place."""
        return {number: given for given, number in self.levels[at].items()}
