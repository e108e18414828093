"""Regular expressions as trees. Pure. A node is equal to itself only, so that sets of them are cheap."""

from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]
"""Code points, first and last of each run, in order."""

EVERY: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))
"""All that a text can have."""


class UnsayableError(Exception):
    """More than the bounds, or something that automata and their texts do not have."""


@dataclass(frozen=True, slots=True, eq=False)
class Chars:
    """One character of a set. Where dialects read a set differently, ``low`` is what it is for all of them,
    and ``high`` what it is for any."""

    low: Ranges
    high: Ranges


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """One character of a set that has properties of Unicode, in the compiler's words."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Seq:
    """One thing behind another."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Alt:
    """Any of these."""

    ways: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """The same ``least`` to ``most`` times. None: any number."""

    item: "Node"
    least: int
    most: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What must or must not stand behind a place, or in front of it."""

    item: "Node"
    ahead: bool
    wanted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """A place: the text's beginning (``^``), its end (``$``), the edge of a word (``b``), or none (``B``)."""

    kind: str


Node = Chars | Named | Seq | Alt | Repeat | Look | Edge

NOTHING = Seq(())
ANY = Repeat(Chars(EVERY, EVERY), 0, None)
START, END = Edge("^"), Edge("$")


def seq(*items: Node) -> Node:
    """One behind another, without sequences within."""
    flat: list[Node] = []
    for item in items:
        flat.extend(item.items if isinstance(item, Seq) else (item,))
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def union(*sets: Ranges) -> Ranges:
    """What is in any of them."""
    made: list[tuple[int, int]] = []
    for first, last in sorted(run for each in sets for run in each):
        if made and first <= made[-1][1] + 1:
            made[-1] = made[-1][0], max(made[-1][1], last)
        else:
            made.append((first, last))
    return tuple(made)


def others(ranges: Ranges) -> Ranges:
    """Every other character."""
    made: list[tuple[int, int]] = []
    for start, end in EVERY:
        at = start
        for first, last in ranges:
            if last < at or first > end:
                continue
            if first > at:
                made.append((at, first - 1))
            at = last + 1
        if at <= end:
            made.append((at, end))
    return tuple(made)
