"""JSON within a text, read as it comes."""

import json
import re

from inferloom_worker.output.calls.reader import CallReader, NotACallError, Reading

_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_SCALAR = re.compile(r"true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_ESCAPES = '"\\/bfnrt'
_DEEPEST = 64


class JsonValues(CallReader):
    """Reads values of JSON up to their ends."""

    def _text_value(self) -> Reading[str]:
        """A string's own text."""
        start = self._at
        yield from self._string()
        return str(json.loads(self._text[start : self._at]))

    def _value(self, depth: int) -> Reading[None]:
        """Read one value. Keeps no places over a wait: the text before may be gone."""
        match (yield from self._blank()):
            case "{":
                yield from self._entries("}", depth + 1)
            case "[":
                yield from self._entries("]", depth + 1)
            case '"':
                yield from self._string()
            case _:
                yield from self._scalar()

    def _entries(self, end: str, depth: int) -> Reading[None]:
        if depth > _DEEPEST:
            raise NotACallError
        self._at += 1
        if (yield from self._blank()) == end:
            self._at += 1
            return
        while True:
            if end == "}":
                yield from self._blank()
                yield from self._string()
                yield from self._blank()
                yield from self._expect(":")
            yield from self._value(depth)
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect(end)

    def _string(self) -> Reading[None]:
        yield from self._expect('"')
        while True:
            character = yield from self._peek()
            if plain := _PLAIN.match(self._text, self._at):
                self._at = plain.end()
            elif character == '"':
                self._at += 1
                return
            elif character == "\\":
                self._at += 1
                yield from self._escape()
            else:
                raise NotACallError

    def _escape(self) -> Reading[None]:
        character = yield from self._peek()
        if character == "u":
            for _ in range(4):
                self._at += 1
                if (yield from self._peek()) not in tuple("0123456789abcdefABCDEF"):
                    raise NotACallError
        elif not character or character not in _ESCAPES:
            raise NotACallError
        self._at += 1

    def _scalar(self) -> Reading[None]:
        run = ""
        while (character := (yield from self._peek())) and (character.isalnum() or character in "+-."):
            run += character
            self._at += 1
        if not _SCALAR.fullmatch(run):
            raise NotACallError
