"""What may still come of texts that regular expressions with places and looks match. Pure.

A state is texts of sequences, combined by and, or and not, so that a look is a conjunction with what follows
it (Brzozowski, Derivatives of Regular Expressions, 1964).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

from inferloom_worker.constrain.regex_nodes import (
    ANY,
    Alt,
    Chars,
    Edge,
    Look,
    Named,
    Node,
    Ranges,
    Repeat,
    Seq,
    UnsayableError,
)
from inferloom_worker.constrain.regex_reading import WORDS

_ITEMS_OF_A_STEP = 128
"""A step copies and hashes what is left of a sequence: longer ones count as several."""

_RANGES_OF_A_STEP = 64
"""Runs of characters that are looked through in about a step's time."""


@dataclass(slots=True)
class Steps:
    """Work that may be done, and is bounded for all that is read together."""

    left: int

    def take(self, some: int = 1) -> None:
        """Take some. Raises UnsayableError where so many are not left."""
        self.left -= some
        if self.left < 0:
            raise UnsayableError


@dataclass(frozen=True, slots=True)
class Rest:
    """The texts of one thing behind another."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class All:
    """The texts that all have."""

    parts: frozenset["State"]


@dataclass(frozen=True, slots=True)
class Some:
    """The texts that some have."""

    parts: frozenset["State"]


@dataclass(frozen=True, slots=True)
class Not:
    """All other texts."""

    part: "State"


State = Rest | All | Some | Not

NONE: State = Some(frozenset())
EVERYTHING: State = Rest((ANY,))

Before = bool | None
"""Whether the character before a place is of a word. None: it depends on the dialect."""


@dataclass(frozen=True, slots=True)
class Here:
    """A place in a text."""

    before: Before
    start: bool
    after: int | None
    """The character behind it. None: the text ends."""


def all_of(parts: Iterable[State]) -> State:
    """The texts that all of them have."""
    flat: set[State] = set()
    for part in parts:
        flat |= part.parts if isinstance(part, All) else {part}
    flat.discard(EVERYTHING)
    if NONE in flat:
        return NONE
    flat = {p for p in flat if not (isinstance(p, Some) and p.parts & flat)}
    flat -= {wider for _, wider in _included(flat)}
    if not flat:
        return EVERYTHING
    return flat.pop() if len(flat) == 1 else All(frozenset(flat))


def some_of(parts: Iterable[State]) -> State:
    """The texts that any of them has."""
    flat: set[State] = set()
    for part in parts:
        flat |= part.parts if isinstance(part, Some) else {part}
    if EVERYTHING in flat:
        return EVERYTHING
    flat = {p for p in flat if not (isinstance(p, All) and p.parts & flat)}
    flat -= {narrower for narrower, _ in _included(flat)}
    return flat.pop() if len(flat) == 1 else Some(frozenset(flat))


def _included(states: set[State]) -> list[tuple[State, State]]:
    """Pairs of which one is plainly within the other: the same thing fewer times. Without this, what counts
    would have a state for each set of counts."""
    if len(states) < 2:
        return []
    counted: dict[tuple[Node, ...], list[tuple[Repeat | None, State]]] = {}
    for state in states:
        if isinstance(state, Rest):
            counted.setdefault(state.items, []).append((None, state))
            if state.items and isinstance(head := state.items[0], Repeat):
                counted.setdefault(state.items[1:], []).append((head, state))
    found: list[tuple[State, State]] = []
    for group in counted.values():
        for (one, inner), (other, outer) in permutations(group, 2) if len(group) > 1 else ():
            if other is not None and other.least == 0 and (one is None or _fewer(one, other)):
                found.append((inner, outer))
    return found


def _fewer(one: Repeat, other: Repeat) -> bool:
    """Whether it is the same thing, and no more often."""
    if one.item is not other.item:
        return False
    if other.most is None:
        return one.most is not None or one.least > other.least
    return one.most is not None and one.most < other.most


def not_of(part: State) -> State:
    """All other texts."""
    if isinstance(part, Not):
        return part.part
    return NONE if part == EVERYTHING else EVERYTHING if part == NONE else Not(part)


class Reading:
    """Goes on from state to state.

    Args:
        steps: Those that may be taken.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._known: dict[tuple[tuple[Node, ...], Here, bool], State] = {}
        self._again: dict[tuple[Node, int, int | None], Repeat] = {}

    def after(self, state: State, here: Here, *, wide: bool = False) -> State:
        """What may come behind a character."""
        match state:
            case Rest(items):
                key = items, here, wide
                if key not in self._known:
                    self._known[key] = self._step(items, here, frozenset(), wide=wide)
                self._steps.take(1 + len(items) // _ITEMS_OF_A_STEP)
                return self._known[key]
            case All(parts):
                self._steps.take(len(parts) // 8)
                return all_of(self.after(part, here, wide=wide) for part in parts)
            case Some(parts):
                self._steps.take(len(parts) // 8)
                return some_of(self.after(part, here, wide=wide) for part in parts)
            case Not(part):
                return not_of(self.after(part, here, wide=not wide))

    def _step(
        self, items: tuple[Node, ...], here: Here, open_: frozenset[tuple[Node, ...]], *, wide: bool
    ) -> State:
        self._steps.take(1 + len(items) // _ITEMS_OF_A_STEP)
        if not items or here.after is None:
            return NONE
        head, rest = items[0], items[1:]
        match head:
            case Chars(low, high):
                ranges = high if wide else low
                self._steps.take(len(ranges) // _RANGES_OF_A_STEP)
                if not has(ranges, here.after):
                    return NONE
                return EVERYTHING if rest and all(item is ANY for item in rest) else Rest(rest)
            case Named():
                raise UnsayableError
            case Seq(parts):
                return self._step((*parts, *rest), here, open_, wide=wide)
            case Alt(ways):
                return some_of(self._step((way, *rest), here, open_, wide=wide) for way in ways)
            case Repeat():
                if items in open_:
                    return NONE  # round again without a character
                open_ |= {items}
                turns = [] if head.most == 0 else [(head.item, *self._further(head), *rest)]
                turns += [rest] if head.least == 0 else []
                return some_of(self._step(way, here, open_, wide=wide) for way in turns)
            case Look(item, ahead, wanted):
                if not ahead:
                    raise UnsayableError
                seen = self._step((item, ANY), here, open_, wide=wide is wanted)
                rest_ = self._step(rest, here, open_, wide=wide)
                return all_of([seen if wanted else not_of(seen), rest_])
            case Edge():
                if head.kind == "$" and wide and here.after == 10:
                    # Python's is also before a line's end at the text's.
                    return all_of([Rest(()), self._step(rest, here, open_, wide=wide)])
                if _is_at(head.kind, here, wide=wide):
                    return self._step(rest, here, open_, wide=wide)
                return NONE

    def _further(self, head: Repeat) -> tuple[Node, ...]:
        """What of a repetition may stand behind its first turn."""
        least, most = max(head.least - 1, 0), None if head.most is None else head.most - 1
        if (least, most) == (head.least, head.most):
            return (head,)
        key = head.item, least, most
        return () if most == 0 else (self._again.setdefault(key, Repeat(*key)),)

    def holds(self, state: State, here: Here, *, wide: bool = False) -> bool:
        """Whether the text may end here."""
        match state:
            case Rest(items):
                return self._ends(items, here, frozenset(), wide=wide)
            case All(parts):
                return all(self.holds(part, here, wide=wide) for part in parts)
            case Some(parts):
                return any(self.holds(part, here, wide=wide) for part in parts)
            case Not(part):
                return not self.holds(part, here, wide=not wide)

    def _ends(
        self, items: tuple[Node, ...], here: Here, open_: frozenset[tuple[Node, ...]], *, wide: bool
    ) -> bool:
        self._steps.take(1 + len(items) // _ITEMS_OF_A_STEP)
        if not items:
            return True
        head, rest = items[0], items[1:]
        match head:
            case Chars():
                return False
            case Named():
                return False
            case Seq(parts):
                return self._ends((*parts, *rest), here, open_, wide=wide)
            case Alt(ways):
                return any(self._ends((way, *rest), here, open_, wide=wide) for way in ways)
            case Repeat(item, least):
                if least == 0 and self._ends(rest, here, open_, wide=wide):
                    return True
                return least > 0 and self._ends((item, *rest), here, open_, wide=wide)
            case Look(item, ahead, wanted):
                if not ahead:
                    raise UnsayableError
                seen = self._ends((item, ANY), here, open_, wide=wide is wanted)
                return seen is wanted and self._ends(rest, here, open_, wide=wide)
            case Edge(kind):
                return _is_at(kind, here, wide=wide) and self._ends(rest, here, open_, wide=wide)


def accepts(state: State, text: str, steps: Steps) -> bool:
    """Whether a text is one of those.

    Raises:
        UnsayableError: It takes more steps, or has something that is not known here.
    """
    reading = Reading(steps)
    before: Before = False
    for at, character in enumerate(text):
        state = reading.after(state, Here(before, at == 0, ord(character)))
        before = of_word(ord(character))
    return reading.holds(state, Here(before, not text, None))


def _is_at(kind: str, here: Here, *, wide: bool) -> bool:
    """Whether this is such a place. ``wide``: for any dialect, otherwise for all."""
    if kind == "^":
        return here.start
    if kind == "$":
        return here.after is None
    after = False if here.after is None else of_word(here.after)
    empty = here.start and here.after is None  # where Python has no ``\B``
    if here.before is None or after is None or (empty and kind == "B"):
        return wide
    return (here.before is not after) is (kind == "b")


def of_word(code: int) -> Before:
    return None if code >= 0x80 else has(WORDS, code)


def has(ranges: Ranges, code: int) -> bool:
    return any(first <= code <= last for first, last in ranges)
