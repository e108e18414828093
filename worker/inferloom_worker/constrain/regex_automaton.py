"""Automata of regular expressions with places and looks, and what they accept as text without. Pure.

The text comes of eliminating the states one by one (Kleene).
"""

from collections import deque

from inferloom_worker.constrain.regex_nodes import (
    Alt,
    Chars,
    Edge,
    Look,
    Node,
    Ranges,
    Repeat,
    Seq,
    UnsayableError,
    union,
)
from inferloom_worker.constrain.regex_reading import WORDS
from inferloom_worker.constrain.regex_states import (
    NONE,
    All,
    Before,
    Here,
    Not,
    Reading,
    Rest,
    Some,
    State,
    Steps,
    has,
    of_word,
)
from inferloom_worker.constrain.regex_writing import NO_TEXT, of_ranges

MOST_SETS = 64
"""Different sets of characters."""

MOST_STATES = 1000
MOST_TEXT = 16_384
"""Characters of a result."""

_CHARACTERS_OF_A_STEP = 64
"""Those of a result that are written in about a step's time."""


class Automaton:
    """Of what some texts are; ``write`` says it.

    Args:
        wanted: Those texts. In what must not be, characters are read as widely as any dialect does.
        steps: Those that may be taken.

    Raises:
        UnsayableError: It has too many states, or finding them takes too long.
    """

    def __init__(self, wanted: State, steps: Steps) -> None:
        self._steps = steps
        self._reading = Reading(steps)
        self._placed = False
        self._sets: dict[Ranges, None] = {WORDS: None}
        self._collect(wanted)
        if len(self._sets) > MOST_SETS:
            raise UnsayableError
        self._steps.take(_looks(list(self._sets)))
        self._classes = _classes(list(self._sets))
        self._states: dict[tuple[State, Before, bool], int] = {}
        self._edges: list[dict[int, int]] = []
        self._accepted: set[int] = set()
        self._explore(wanted)

    def _collect(self, state: State) -> None:
        todo: list[State | Node] = [state]
        while todo:
            match todo.pop():
                case Chars(low, high):
                    self._sets[low] = self._sets[high] = None
                case Rest(parts) | All(parts) | Some(parts) | Seq(parts) | Alt(parts):
                    todo.extend(parts)
                case Not(part) | Repeat(part) | Look(part):
                    todo.append(part)
                case Edge(kind):
                    self._placed = self._placed or kind != "$"

    def _explore(self, wanted: State) -> None:
        todo = deque([self._number(wanted, before=False, start=True)])
        while todo:
            state, before, start = todo.popleft()
            edges: dict[int, int] = {}
            at = self._states[state, before, start]
            if self._reading.holds(state, Here(before, start, None)):
                self._accepted.add(at)
            for index, ranges in enumerate(self._classes):
                code = ranges[0][0]
                after = self._reading.after(state, Here(before, start, code))
                if after == NONE:
                    continue
                known = len(self._states)
                key = self._number(after, before=of_word(code), start=False)
                edges[index] = self._states[key]
                if len(self._states) > known:
                    todo.append(key)
            self._edges.append(edges)

    def _number(self, state: State, *, before: Before, start: bool) -> tuple[State, Before, bool]:
        # What came before matters at places only.
        key = (state, before, start) if self._placed else (state, False, False)
        if self._states.setdefault(key, len(self._states)) > MOST_STATES:
            raise UnsayableError
        return key

    # As text

    def write(self) -> str:
        """A regular expression without places and looks that matches the texts, whole.

        Raises:
            UnsayableError: It is too long.
        """
        labels = self._labels()
        while inner := [at for at in labels.outs if at >= 0]:
            self._steps.take(1 + len(inner) // 4)
            labels.eliminate(min(inner, key=labels.cost))
        return labels.outs.get(_BEGIN, {}).get(_FINISH, NO_TEXT)

    def _labels(self) -> "_Labels":
        """The text of each edge."""
        group = self._grouped()
        living = self._living(group)
        found: dict[tuple[int, int], list[Ranges]] = {}
        seen: set[int] = set()
        for at, edges in enumerate(self._edges):
            if group[at] in seen or group[at] not in living:
                continue
            seen.add(group[at])
            for index, target in edges.items():
                if group[target] in living:
                    found.setdefault((group[at], group[target]), []).append(self._classes[index])
        labels = _Labels(self._steps)
        for (at, to), sets in found.items():
            labels.add(at, to, of_ranges(union(*sets)))
        if group[0] in living:
            labels.add(_BEGIN, group[0], "")
        for at in {group[each] for each in self._accepted}:
            labels.add(at, _FINISH, "")
        return labels

    def _grouped(self) -> list[int]:
        """A number for each state, the same for those that accept the same (Moore)."""
        group = [int(at in self._accepted) for at in range(len(self._edges))]
        while True:
            self._steps.take(len(group))
            keys: dict[object, int] = {}
            made = [
                keys.setdefault(
                    (group[at], tuple(sorted((i, group[target]) for i, target in edges.items()))), len(keys)
                )
                for at, edges in enumerate(self._edges)
            ]
            if len(keys) == len(set(group)):
                return made
            group = made

    def _living(self, group: list[int]) -> set[int]:
        """Those from which a text can be completed."""
        before: dict[int, set[int]] = {}
        for at, edges in enumerate(self._edges):
            for target in edges.values():
                before.setdefault(group[target], set()).add(group[at])
        living = {group[at] for at in self._accepted}
        todo = list(living)
        while todo:
            fresh = before.get(todo.pop(), set()) - living
            living |= fresh
            todo += fresh
        return living


_BEGIN, _FINISH = -1, -2


class _Labels:
    """What leads from one state to another, as text."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.outs: dict[int, dict[int, str]] = {}
        self._ins: dict[int, set[int]] = {}

    def add(self, at: int, to: int, way: str) -> None:
        """One way more. Raises UnsayableError where the text becomes too long."""
        there = self.outs.setdefault(at, {}).get(to)
        if there is None or there == way:
            text = way
        elif there and way:
            text = f"{there}|{way}"
        else:
            text = f"{_closed(there or way)}?"
        if len(text) > MOST_TEXT:
            raise UnsayableError
        self.outs[at][to] = text
        self._ins.setdefault(to, set()).add(at)

    def cost(self, at: int) -> int:
        """Characters that eliminating a state adds."""
        outs = [len(text) for to, text in self.outs[at].items() if to != at]
        ins = [len(self.outs[each][at]) for each in self._ins.get(at, ()) if each != at]
        loop = len(self.outs[at].get(at, ""))
        return sum(ins) * (len(outs) - 1) + sum(outs) * (len(ins) - 1) + loop * (len(ins) * len(outs) - 1)

    def eliminate(self, at: int) -> None:
        """Lead around a state."""
        outs = self.outs.pop(at)
        loop = outs.pop(at, "")
        middle = f"{_closed(loop)}*" if loop else ""
        befores = self._ins.pop(at, set()) - {at}
        for to in outs:
            self._ins[to].discard(at)
        for before in befores:
            first = self.outs[before].pop(at)
            for to, last in outs.items():
                self._steps.take((len(first) + len(middle) + len(last)) // _CHARACTERS_OF_A_STEP)
                self.add(before, to, _apart(first) + middle + _apart(last))


def _apart(text: str) -> str:
    """A text that may stand beside others."""
    return f"(?:{text})" if _has_ways(text) else text


def _closed(text: str) -> str:
    """A text that a count may stand behind."""
    return text if _is_one(text) else f"(?:{text})"


def _is_one(text: str) -> bool:
    if text.startswith("["):
        return text.find("]") == len(text) - 1
    if text.startswith("\\x"):
        return text.find("}") == len(text) - 1
    return len(text) == 1 or text == "(?s:.)"


def _has_ways(text: str) -> bool:
    depth = 0
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            return True
    return False


def _looks(sets: list[Ranges]) -> int:
    """Steps that finding the classes takes: each run of a set is looked at from each edge of another."""
    runs = sum(map(len, sets))
    return 2 * runs * (runs + 4 * len(sets)) // 64


def _classes(sets: list[Ranges]) -> list[Ranges]:
    """The coarsest sets of characters of which each is within or outside of all the given ones."""
    cuts = {0, 10, 11, 0x80, 0xE000}
    for ranges in sets:
        for first, last in ranges:
            cuts |= {first, last + 1}
    edges = sorted(cut for cut in cuts if cut <= 0x10FFFF)
    found: dict[tuple[bool, ...], list[tuple[int, int]]] = {}
    for first, after in zip(edges, [*edges[1:], 0x110000], strict=True):
        if 0xD800 <= first < 0xE000:
            continue
        key = (first == 10, first >= 0x80, *(has(ranges, first) for ranges in sets))
        found.setdefault(key, []).append((first, after - 1))
    return [tuple(runs) for runs in found.values()]
