"""What a schema's pattern asks of a whole text, for a compiler without looks and places. Pure.

A look at a text's beginning is a condition on all of it, beside the others. One that is wanted is written as
it is; what must not be is said by an automaton's opposite, and what has looks in its midst by an automaton.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

from inferloom_worker.constrain.kept import Kept
from inferloom_worker.constrain.regex_automaton import Automaton
from inferloom_worker.constrain.regex_nodes import ANY, END, START, Alt, Look, Node, Seq, UnsayableError, seq
from inferloom_worker.constrain.regex_reading import MOST_CHARACTERS, UnreadableError, read_regex
from inferloom_worker.constrain.regex_states import Rest, State, Steps, accepts, not_of
from inferloom_worker.constrain.regex_writing import is_plain, write_regex

_T = TypeVar("_T")

EVERY_TEXT = "(?s:.)*"

MOST_STEPS = 40_000
"""Work for one pattern: about a fifth of a second."""

MOST_OF_ALL = 80_000
"""Work for all patterns of a request: about a third of a second."""

MOST_KEPT = 1024
MOST_KEPT_BYTES = 16 * 2**20
"""Patterns of which it is kept what was found, and the memory of all that."""

_MOST_FOR_A_NAME = 5000
_CHARACTERS_OF_A_STEP = 1
"""Those of a pattern that are read in about a step's time."""
_WRITTEN_IN_A_STEP = 64


class Work(Steps):
    """What may be done for patterns that come together, and what was found; that costs nothing again."""

    def __init__(self, steps: int = MOST_OF_ALL) -> None:
        super().__init__(steps)
        self._found: dict[tuple[object, ...], object] = {}
        self.refused = 0
        """How often something was not looked for, as no steps were left."""

    def once(self, find: Callable[..., tuple[_T | None, int]], *asked: str) -> _T | None:
        """What is found, after its steps were taken. None: there are not so many left."""
        key = find, *asked
        if key not in self._found:
            if self.left <= 0:
                self.refused += 1
                return None
            found, taken = find(*asked)
            self.left -= taken
            self._found[key] = found
        return cast("_T | None", self._found[key])


_shared: ContextVar[Work | None] = ContextVar("patterns", default=None)


def work() -> Work:
    """The work that may be done for the patterns of one schema, or of all that is read ``together``."""
    return _shared.get() or Work()


@contextmanager
def together() -> Iterator[None]:
    """All patterns that are read within are read within the bounds of one schema's."""
    token = _shared.set(_shared.get() or Work())
    try:
        yield
    finally:
        _shared.reset(token)


def whole_texts(pattern: str, steps: Work) -> tuple[Sequence[str], bool] | None:
    """Regular expressions, without anchors, of which all match a whole text that has the pattern in it; and
    whether the compiler would read the pattern otherwise, or not at all. None: it cannot be said so, or no
    steps are left.

    What they match has the pattern for ECMA-262 and for Python: where those differ, on digits, letters, white
    space, lines and the text's end, they match what has it for both.
    """
    return steps.once(_whole_texts, pattern)


def one_text(pattern: str, steps: Work) -> str | None:
    """The same as one regular expression."""
    return steps.once(_one_text, pattern)


def no_text(pattern: str, steps: Work) -> str | None:
    """One that matches whole texts in which the pattern is not."""
    return steps.once(_no_text, pattern)


def has_pattern(pattern: str, text: str, steps: Work) -> bool | None:
    """Whether a pattern is in a text. None: it is not known, or no steps are left."""
    return steps.once(_has_pattern, pattern, text)


def is_read(pattern: str) -> bool:
    """Whether it is a regular expression, as far as they are read here."""
    try:
        read_regex(pattern)
    except _NOT_SAID:
        return False
    return True


_NOT_SAID = (UnreadableError, UnsayableError, RecursionError)

_found_before: Kept[tuple[object, str], tuple[Any, int]] = Kept(MOST_KEPT, MOST_KEPT_BYTES)


def _kept(find: Callable[[str], tuple[_T | None, int]]) -> Callable[[str], tuple[_T | None, int]]:
    """What is found of the last patterns, without finding it again. Patterns that are too long to be read are
    not kept."""

    @wraps(find)
    def kept(pattern: str) -> tuple[_T | None, int]:
        if len(pattern) > MOST_CHARACTERS:
            return find(pattern)
        found = _found_before.get((find, pattern))
        if found is None:
            found = find(pattern)
            _found_before.put((find, pattern), found, sys.getsizeof(pattern) + _size(found[0]))
        return found

    return kept


def _size(found: object) -> int:
    """Bytes of the texts in what is found."""
    if isinstance(found, tuple):
        return sum(map(_size, found))
    return sys.getsizeof(found)


def _tried(pattern: str, find: Callable[[Node, bool, Steps], _T], most: int) -> tuple[_T | None, int]:
    """What is found of a pattern, and the steps that it took."""
    steps = Steps(most)
    steps.left -= 1 + min(len(pattern), MOST_CHARACTERS) // _CHARACTERS_OF_A_STEP
    try:
        found: _T | None = find(*read_regex(pattern), steps)
    except _NOT_SAID:
        found = None
    return found, most - max(steps.left, 0)


@_kept
def _whole_texts(pattern: str) -> tuple[tuple[Sequence[str], bool] | None, int]:
    def find(node: Node, odd: bool, steps: Steps) -> tuple[Sequence[str], bool]:
        return tuple(_conditions(node, steps)), odd or _plain(node) is None

    return _tried(pattern, find, MOST_STEPS)


@_kept
def _one_text(pattern: str) -> tuple[str | None, int]:
    found, taken = _whole_texts(pattern)
    if found is not None and len(found[0]) == 1:
        return found[0][0], taken
    return _tried(pattern, lambda node, _, steps: _automaton(Rest((_found(node),)), steps), MOST_STEPS)


@_kept
def _no_text(pattern: str) -> tuple[str | None, int]:
    return _tried(
        pattern, lambda node, _, steps: _automaton(not_of(Rest((_found(node),))), steps), MOST_STEPS
    )


def _has_pattern(pattern: str, text: str) -> tuple[bool | None, int]:
    return _tried(
        pattern, lambda node, _, steps: accepts(Rest((_found(node),)), text, steps), _MOST_FOR_A_NAME
    )


def _conditions(node: Node, steps: Steps) -> list[str]:
    if (plain := _plain(node)) is not None:
        return [_written(plain, steps)]
    items = node.items if isinstance(node, Seq) else (node,)
    if items[0] is not START:
        return [_automaton(Rest((_found(node),)), steps)]
    first = 0
    while first < len(items) and (items[first] is START or _is_look(items[first], ahead=True)):
        first += 1
    last = len(items)
    if items[-1] is END:
        while last > first and (items[last - 1] is END or _is_look(items[last - 1], ahead=False)):
            last -= 1
    body = seq(START, *items[first:last], *([END] if items[-1] is END else []))
    made: list[str] = []
    if (plain := _plain(body)) is not None:
        made.append(_written(plain, steps))
    else:
        made.append(_automaton(Rest((_found(body),)), steps))
    for look in (*items[:first], *items[last:]):
        if isinstance(look, Look):
            made += _looked_for(look, steps)
    return [each for each in made if each != EVERY_TEXT] or [EVERY_TEXT]


def _looked_for(look: Look, steps: Steps) -> list[str]:
    """What a look at the beginning or at the end asks of the whole text. Where the opposite of alternatives
    is too large, those of each."""
    try:
        return [_condition(look, steps)]
    except UnsayableError:
        items = look.item.items if isinstance(look.item, Seq) else (look.item,)
        places = {at: item for at, item in enumerate(items) if isinstance(item, Alt)}
        if look.wanted or not places:
            raise
        at = max(places)
        each = [seq(*items[:at], way, *items[at + 1 :]) for way in places[at].ways]
        return [_condition(Look(way, look.ahead, wanted=False), steps) for way in each]


def _condition(look: Look, steps: Steps) -> str:
    """What a look at the beginning or at the end asks of the whole text."""
    around = seq(START, look.item) if look.ahead else seq(look.item, END)
    if not look.wanted:
        return _automaton(not_of(Rest((_found(around),))), steps)
    if (plain := _plain(around)) is not None:
        return _written(plain, steps)
    return _automaton(Rest((_found(around),)), steps)


def _written(node: Node, steps: Steps) -> str:
    text = write_regex(node)
    steps.take(len(text) // _WRITTEN_IN_A_STEP)
    return text


def _automaton(wanted: State, steps: Steps) -> str:
    return Automaton(wanted, steps).write()


def _found(node: Node) -> Node:
    """Whole texts in which a node's are somewhere."""
    return seq(ANY, node, ANY)


def _plain(node: Node) -> Node | None:
    """Whole texts in which a node's are somewhere, without places. None: they cannot be told without
    an automaton."""
    if isinstance(node, Alt):
        ways = [_plain(way) for way in node.ways]
        found = [way for way in ways if way is not None]
        return Alt(tuple(found)) if len(found) == len(ways) else None
    items = node.items if isinstance(node, Seq) else (node,)
    first, last = 0, len(items)
    while first < last and items[first] is START:
        first += 1
    while last > first and items[last - 1] is END:
        last -= 1
    within = items[first:last]
    if len(within) == 1 and isinstance(within[0], Alt) and not is_plain(within[0]):
        ways = [_plain(seq(*items[:first], way, *items[last:])) for way in within[0].ways]
        found = [way for way in ways if way is not None]
        return Alt(tuple(found)) if len(found) == len(ways) else None
    if not all(map(is_plain, within)):
        return None
    return seq(*([] if first else [ANY]), *within, *([] if last < len(items) else [ANY]))


def _is_look(node: Node, *, ahead: bool) -> bool:
    return isinstance(node, Look) and node.ahead is ahead
