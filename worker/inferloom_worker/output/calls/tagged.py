"""Calls whose arguments stand between tags of their own, strings without quotes."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from inferloom_worker.constrain.patterns import Work
from inferloom_worker.output.calls.json_values import JsonValues
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.raw_values import OPENERS, Written, argument_types, value_of, written
from inferloom_worker.output.calls.reader import LONGEST_KEY, NotACallError, Reading, SectionEndError
from inferloom_worker.output.parsing import begun

_MOST_STEPS = 20_000
"""Work for telling which patterns the names have that a model wrote, in one answer."""


class TaggedReader(JsonValues):
    """Reads calls as tags: each argument goes out when it is complete, and text as it comes. A tag within a
    string of JSON ends nothing."""

    argument: ClassVar[str]
    """What begins an argument."""
    key_ends: ClassVar[Sequence[str]]
    """What stands behind its name: each of these, with white space between."""
    value_ends: ClassVar[Sequence[str]]
    """What ends its value, any of these."""
    call_end: ClassVar[str]
    """What ends the arguments."""
    lines: ClassVar[bool] = False
    """Whether a value stands on lines of its own."""

    def __init__(self, offer: Offer) -> None:
        super().__init__(offer)
        self._steps = Work(_MOST_STEPS)

    def _parameters(self, name: str) -> Reading[None]:
        """A call whose arguments are at hand. Once it has begun it stays a call, whatever follows."""
        self._begin(name)
        self._add("{")
        self._kept = self._at
        try:
            first = True
            while (yield from self._next(self.argument)):
                yield from self._parameter(name, "" if first else ", ")
                first = False
            yield from self._blank()
            yield from self._expect(self.call_end)
        except NotACallError:
            if not self._over:
                self._add("}")
            self._end()
            raise SectionEndError from None
        self._add("}")
        self._end()

    def _parameter(self, name: str, comma: str) -> Reading[None]:
        key = yield from self._until(self.key_ends[0])
        for mark in self.key_ends[1:]:
            yield from self._blank()
            yield from self._expect(mark)
        types = argument_types(self._offer.schemas.get(name, True), key, self._steps)
        self._add(f"{comma}{_json(key)}: ")
        if self.lines and (yield from self._peek()) == "\n":
            self._at += 1
        if written(types) is Written.TEXT:
            self._add('"')
            yield from self._quoted_text()
            self._add('"')
        else:
            start = self._at
            end = yield from self._json_end(types)
            if end is None:
                self._at = start
                end = yield from self._value_end()
            self._add(_json(value_of(types, self._text[start:end])))
        self._kept = self._at

    def _until(self, mark: str) -> Reading[str]:
        """The text before a mark, which is read too."""
        start = self._at
        while (place := self._text.find(mark, start)) < 0:
            if self._over or len(self._text) - start > LONGEST_KEY:
                raise NotACallError
            self._at = len(self._text)
            yield from self._more()
        if place - start > LONGEST_KEY:
            raise NotACallError
        self._at = place + len(mark)
        return self._text[start:place]

    def _json_end(self, types: frozenset[str]) -> Reading[int | None]:
        """Read an object or an array, where these types have such, and the value's end behind it; where it
        ends. None: there is none."""
        try:
            first = yield from self._blank()
            if not any(kind in types and first == opener for kind, opener in OPENERS.items()):
                return None
            yield from self._value(0)
            end = self._at
            for mark in map(str.strip, self.value_ends):
                if (yield from self._next(mark)) and self._text.startswith(mark, self._at - len(mark)):
                    return end
        except NotACallError:
            pass
        return None

    def _value_end(self) -> Reading[int]:
        """Read a value and its end; where the value ends."""
        start = self._at
        while True:
            found = [
                (place, -len(end)) for end in self.value_ends if (place := self._text.find(end, start)) >= 0
            ]
            if found:
                place, size = min(found)
                self._at = place - size
                return place
            if self._over:
                raise NotACallError
            self._at = len(self._text)
            yield from self._more()

    def _quoted_text(self) -> Reading[None]:
        """Say a value that is text as it comes, up to its end, which is read too."""
        while True:
            found = [
                (place, -len(end))
                for end in self.value_ends
                if (place := self._text.find(end, self._at)) >= 0
            ]
            sure, size = min(found, default=(len(self._text), 0))
            if not found and not self._over:
                sure -= begun(self._text, self._at, self.value_ends)
            self._add(_json(self._text[self._at : sure])[1:-1])
            self._at = self._kept = sure - size
            self._streams = False
            if found:
                return
            if self._over:
                raise NotACallError
            self._streams = True
            yield


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class QwenCoderReader(TaggedReader):
    """``<tool_call><function=name><parameter=key>…</parameter></function></tool_call>``: Qwen3-Coder."""

    markers = ("<tool_call>", "<seed:tool_call>", "<function=")
    argument = "<parameter="
    key_ends = (">",)
    value_ends: ClassVar[Sequence[str]] = ("\n</parameter>", "</parameter>")
    call_end = "</function>"
    lines = True

    def _section(self) -> Reading[None]:
        outer = ""
        for mark in self.markers[:2]:
            if self._text.startswith(mark, self._at):
                outer = mark
                self._at += len(mark)
        yield from self._blank()
        yield from self._expect("<function=")
        name = yield from self._until(">")
        yield from self._parameters(name)
        if outer:
            yield from self._next(outer.replace("<", "</"))


class SeedReader(QwenCoderReader):
    """The same with another outer tag, and values that stand on no lines of their own: Seed-OSS."""

    value_ends = ("</parameter>",)
    lines = False


class GlmReader(TaggedReader):
    """``<tool_call>name`` and ``<arg_key>key</arg_key><arg_value>…</arg_value>`` for each argument:
    GLM 4.5 and later."""

    markers = ("<tool_call>",)
    argument = "<arg_key>"
    key_ends = ("</arg_key>", "<arg_value>")
    value_ends = ("</arg_value>",)
    call_end = "</tool_call>"

    def _section(self) -> Reading[None]:
        self._at += len("<tool_call>")
        yield from self._blank()
        name = yield from self._name()
        if (yield from self._blank()) != "<":
            raise NotACallError
        yield from self._parameters(name)


class MiniMaxReader(TaggedReader):
    """``<invoke name="…">`` with ``<parameter name="key">…</parameter>`` between its tags: MiniMax M2."""

    markers = ("<minimax:tool_call>",)
    argument = '<parameter name="'
    key_ends = ('">',)
    value_ends = ("</parameter>",)
    call_end = "</invoke>"

    def _section(self) -> Reading[None]:
        self._at += len("<minimax:tool_call>")
        while (yield from self._next('<invoke name="')):
            name = yield from self._until('">')
            try:
                yield from self._parameters(name)
            except SectionEndError:
                if self.done:
                    raise
        yield from self._next("</minimax:tool_call>")
