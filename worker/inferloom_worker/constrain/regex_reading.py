"""Regular expressions read as ECMA-262 has them, which is what JSON Schema asks for. Pure.

Names of groups may be in Python's words too. What is not read is left to the compiler: back references,
flags, and what means different things in different dialects.
"""

import re
import sys
from functools import cache

from inferloom_worker.constrain.regex_nodes import (
    END,
    EVERY,
    START,
    Alt,
    Chars,
    Edge,
    Look,
    Named,
    Node,
    Ranges,
    Repeat,
    others,
    seq,
    union,
)
from inferloom_worker.constrain.regex_writing import runs

MOST_CHARACTERS = 4096
_DEEPEST = 64

_COUNT = re.compile(r"\{([0-9]{1,9})(,([0-9]{0,9}))?\}")
_LOOKS = {"(?=": (True, True), "(?!": (True, False), "(?<=": (False, True), "(?<!": (False, False)}
_NAMED = re.compile(r"\(\?P?<[A-Za-z_$][\w$]*>")
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "v": "\v", "f": "\f"}
_PROPERTY = re.compile(r"[pP]\{[A-Za-z_=]+\}")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")

DIGITS: Ranges = ((48, 57),)
WORDS: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_BEYOND: Ranges = ((0x80, 0xD7FF), (0xE000, 0x10FFFF))
"""What is not in ASCII: for some dialects letters of it are in ``\\w``."""
_SPACE: Ranges = (
    *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
)
_IN_A_LINE: Ranges = others(((10, 10), (13, 13), (0x2028, 0x2029)))
_BUT_A_NEWLINE: Ranges = others(((10, 10),))
"""What ``.`` is for all dialects: to ECMA-262 more characters end lines than to Python."""
_SPACE_TOO: Ranges = ((0x1C, 0x1F), (0x85, 0x85), (0xFEFF, 0xFEFF))
"""White space of one dialect each."""


class UnreadableError(Exception):
    """A regular expression that is none, or has what is not read here."""


def read_regex(pattern: str) -> tuple[Node, bool]:
    """The tree of a regular expression, and whether the compiler would read its text otherwise or not at all.

    Raises:
        UnreadableError: It is not read here.
    """
    if len(pattern) > MOST_CHARACTERS:
        raise UnreadableError
    reading = _Reading(pattern)
    node = reading.alternatives(0)
    if reading.at < len(pattern):
        raise UnreadableError
    return node, reading.odd


@cache
def _all_digits() -> Ranges:
    """Digits of all scripts, as Python reads ``\\d``."""
    found = [(c, c) for c in range(0x20000) if chr(c).isdecimal()]
    return union(tuple(found))


class _Reading:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self.odd = False

    def _peek(self, size: int = 1) -> str:
        return self._text[self.at : self.at + size]

    def alternatives(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise UnreadableError
        ways = [self._sequence(depth)]
        while self._peek() == "|":
            self.at += 1
            ways.append(self._sequence(depth))
        return ways[0] if len(ways) == 1 else Alt(tuple(ways))

    def _sequence(self, depth: int) -> Node:
        items: list[Node] = []
        while (c := self._peek()) and c not in "|)":
            items.append(self._repeated(self._item(depth)))
        return seq(*items)

    def _item(self, depth: int) -> Node:
        c = self._peek()
        if c == "(":
            return self._group(depth)
        if c == "[":
            return self._set()
        self.at += 1
        if c == "\\":
            return self._escape()
        if c == "^":
            return START
        if c == "$":
            return END
        if c == ".":
            return Chars(_IN_A_LINE, _BUT_A_NEWLINE)
        if c in "*+?":
            raise UnreadableError
        if c in "{}]":
            if _COUNT.match(self._text, self.at - 1):
                raise UnreadableError
            self.odd = True  # itself, as browsers have it
        return _chars(((ord(c), ord(c)),))

    def _group(self, depth: int) -> Node:
        look = next((mark for mark in ("(?<=", "(?<!", "(?=", "(?!") if self._peek(4).startswith(mark)), None)
        every = self._peek(5) == "(?s:."
        if look:
            self.at += len(look)
            self.odd = True
        elif named := _NAMED.match(self._text, self.at):
            self.at = named.end()
        elif self._peek(3) == "(?:":
            self.at += 3
        elif every:  # what is written here for any character at all
            self.at += 5
        elif self._peek(2) == "(?":
            raise UnreadableError
        else:
            self.at += 1
        inner = self._repeated(_chars(EVERY)) if every else self.alternatives(depth + 1)
        if self._peek() != ")":
            raise UnreadableError
        self.at += 1
        if look:
            ahead, wanted = _LOOKS[look]
            return Look(inner, ahead, wanted)
        return inner

    def _repeated(self, item: Node) -> Node:
        while True:
            c = self._peek()
            if c and c in "*+?":
                self.at += 1
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[c]
            elif found := _COUNT.match(self._text, self.at):
                self.at = found.end()
                least = int(found[1])
                most = least if found[2] is None else int(found[3]) if found[3] else None
            else:
                return item
            if isinstance(item, Edge | Look) or (most is not None and most < least):
                raise UnreadableError
            if self._peek() == "?":
                self.at += 1  # as few as may be: the same texts
            elif self._peek() == "+":
                raise UnreadableError  # possessive in some dialects
            item = Repeat(item, least, most)
            if (c := self._peek()) and (c in "*+?" or _COUNT.match(self._text, self.at)):
                raise UnreadableError

    def _escape(self) -> Node:
        c = self._peek()
        if c in ("b", "B"):
            self.at += 1
            self.odd = True
            return Edge(c)
        if property_ := _PROPERTY.match(self._text, self.at):
            self.at = property_.end()
            return Named(f"\\{property_[0]}")
        if (found := self._class_escape()) is not None:
            return found
        return _chars(((code := self._character(), code),))

    def _class_escape(self) -> Chars | None:
        c = self._peek()
        if not c or c not in "dDwWsS":
            return None
        self.at += 1
        return _class(c)

    def _character(self) -> int:
        """The character that is behind a backslash."""
        if found := _HEX.match(self._text, self.at):
            self.at = found.end()
            code = int(next(group for group in found.groups() if group), 16)
            if code > sys.maxunicode or 0xD800 <= code < 0xE000:
                raise UnreadableError
            return code
        c = self._peek()
        self.at += 1
        if c in _CONTROLS and c:
            return ord(_CONTROLS[c])
        if c == "0" and not self._peek().isdigit():
            self.odd = True
            return 0
        if not c or c.isalnum() or c in "<>":
            raise UnreadableError
        if ord(c) > 126 or c.isspace():
            self.odd = True
        return ord(c)

    def _set(self) -> Node:
        self.at += 1
        negated = self._peek() == "^"
        self.at += negated
        lows: list[Ranges] = []
        highs: list[Ranges] = []
        named: list[str] = []
        classes: set[str] = set()
        if self._peek() == "]":
            raise UnreadableError  # an empty set in one dialect, and itself in the other
        while (c := self._peek()) != "]":
            if not c or self._peek(2) == "[:":
                raise UnreadableError
            if c == "[" or self._peek(2) in ("&&", "--", "~~"):
                self.odd = True
            if property_ := _PROPERTY.match(self._text, self.at + 1) if c == "\\" else None:
                named.append(f"\\{property_[0]}")
                self.at = property_.end()
                continue
            if c == "\\":
                classes.add(self._text[self.at + 1 : self.at + 2])
            first = self._member()
            if self._peek() == "-" and self._peek(2) != "-]":
                self.at += 1
                last = self._member()
                if isinstance(first, Chars) or isinstance(last, Chars):
                    self.odd = True  # the hyphen itself
                    first = _joined(_joined(_one(first), _chars(((45, 45),))), _one(last))
                elif last < first:
                    raise UnreadableError
                else:
                    first = _chars(_within(first, last))
            one = _one(first)
            lows.append(one.low)
            highs.append(one.high)
        self.at += 1
        if any({c, c.upper()} <= classes for c in "dsw"):
            lows = highs = [EVERY]  # a class and all that is not in it
        low, high = union(*lows), union(*highs)
        if named:
            return Named(f"[{'^' * negated}{runs(high if negated else low)}{''.join(named)}]")
        return Chars(others(high), others(low)) if negated else Chars(low, high)

    def _member(self) -> Chars | int:
        c = self._peek()
        if not c:
            raise UnreadableError
        self.at += 1
        if c != "\\":
            return ord(c)
        if self._peek() == "b":
            self.at += 1
            self.odd = True
            return 8
        found = self._class_escape()
        return self._character() if found is None else found


@cache
def _class(letter: str) -> Chars:
    """What a letter behind a backslash stands for. Worked out once: there may be thousands in a pattern."""
    match letter.lower():
        case "d":
            low, high = DIGITS, _all_digits()
        case "w":
            low, high = WORDS, union(WORDS, _BEYOND)
        case _:
            low, high = _SPACE, union(_SPACE, _SPACE_TOO)
    return Chars(low, high) if letter.islower() else Chars(others(high), others(low))


def _chars(ranges: Ranges) -> Chars:
    return Chars(ranges, ranges)


def _within(first: int, last: int) -> Ranges:
    """The characters of a run, of which surrogates are none."""
    return tuple(
        (max(first, start), min(last, end)) for start, end in EVERY if max(first, start) <= min(last, end)
    )


def _one(member: Chars | int) -> Chars:
    return member if isinstance(member, Chars) else _chars(((member, member),))


def _joined(one: Chars, other: Chars) -> Chars:
    return Chars(union(one.low, other.low), union(one.high, other.high))
