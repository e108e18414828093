"""Calls whose arguments are literals of another language than JSON; each goes out when it is complete."""

import json
import math
from collections.abc import Sequence
from typing import Any

from inferloom_worker.output.calls.reader import LONGEST_KEY, CallReader, NotACallError, Reading

_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0", "\n": ""}
_CODES = {"x": 2, "u": 4, "U": 8}
_DEEPEST = 64


class LiteralReader(CallReader):
    """Reads literals of Python and JSON, and strings between marks."""

    quotes: Sequence[str] = ()
    """Marks that a string may stand between, without escapes."""

    def _say_call(self, name: str, arguments: dict[str, Any]) -> None:
        """A call, complete."""
        self._begin(name)
        self._add(json.dumps(arguments, ensure_ascii=False))
        self._end()

    def _literal(self, depth: int = 0) -> Reading[Any]:
        """The value at hand, as JSON has it."""
        if depth > _DEEPEST:
            raise NotACallError
        character = yield from self._blank()
        for mark in self.quotes:
            if character == mark[0] and (yield from self._maybe(mark)):
                return (yield from self._marked(mark))
        match character:
            case "'" | '"':
                return (yield from self._string(character))
            case "[":
                return (yield from self._items("]", depth))
            case "(":
                return (yield from self._items(")", depth))
            case "{":
                return (yield from self._entries(depth))
            case _:
                return (yield from self._scalar())

    def _items(self, end: str, depth: int) -> Reading[list[Any]]:
        self._at += 1
        items: list[Any] = []
        while (yield from self._blank()) != end:
            items.append((yield from self._literal(depth + 1)))
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect(end)
        return items

    def _entries(self, depth: int) -> Reading[dict[str, Any]]:
        """An object; its keys need no quotes."""
        self._at += 1
        entries: dict[str, Any] = {}
        while (character := (yield from self._blank())) != "}":
            if character.isalpha() or character == "_":
                key = yield from self._name(LONGEST_KEY)
            else:
                key = yield from self._literal(depth + 1)
            if not isinstance(key, str):
                raise NotACallError
            yield from self._blank()
            yield from self._expect(":")
            entries[key] = yield from self._literal(depth + 1)
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect("}")
        return entries

    def _scalar(self) -> Reading[Any]:
        start = self._at
        while (character := (yield from self._peek())) and (character.isalnum() or character in "+-._"):
            self._at += 1
        word = self._text[start : self._at]
        if word in _WORDS:
            return _WORDS[word]
        if not word.isascii() or "_" in word or word.strip("+-.eE0123456789"):
            raise NotACallError  # what else Python reads as a number
        try:
            number = int(word) if word.lstrip("+-").isdigit() else float(word)
        except ValueError:
            raise NotACallError from None
        if not math.isfinite(number):
            raise NotACallError
        return number

    # Strings

    def _marked(self, mark: str) -> Reading[str]:
        start = self._at
        while True:
            character = yield from self._peek()
            if not character:
                raise NotACallError
            end = self._at
            if character == mark[0] and (yield from self._maybe(mark)):
                if self._text[end : self._at] != mark:  # cut off
                    raise NotACallError
                return self._text[start:end]
            self._at = end + 1

    def _string(self, quote: str) -> Reading[str]:
        self._at += 1
        triple = False
        if (yield from self._peek()) == quote:
            self._at += 1
            if (yield from self._peek()) != quote:
                return ""
            self._at += 1
            triple = True
        text: list[str] = []
        while True:
            character = yield from self._peek()
            if not character or (character == "\n" and not triple):
                raise NotACallError
            self._at += 1
            if character == "\\":
                text.append((yield from self._escape()))
            elif character != quote:
                text.append(character)
            elif not triple or (yield from self._maybe(quote * 2)):
                break
            else:
                text.append(character)
        # Two halves of a character beyond the first plane are one.
        joined = "".join(text)
        return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _escape(self) -> Reading[str]:
        character = yield from self._peek()
        if not character:
            raise NotACallError
        self._at += 1
        if character not in _CODES:
            return _ESCAPES.get(character, character if not character.isalnum() else f"\\{character}")
        digits = ""
        for _ in range(_CODES[character]):
            digits += yield from self._peek()
            self._at += 1
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise NotACallError from None
