"""Calls whose arguments are JSON, which go out as they come."""

import json
from collections.abc import Sequence

from inferloom_worker.output.calls.json_values import JsonValues
from inferloom_worker.output.calls.reader import NotACallError, Reading, SectionEndError
from inferloom_worker.text.halves import without_halves

_ABOUT = ("id", "type", "index")
"""What an object of a call may say besides, and nobody reads."""


class JsonReader(JsonValues):
    """Reads the objects that calls are in most forms."""

    ends: Sequence[str] = ()
    """What ends a call, where something does."""

    argument_keys: Sequence[str] = ("arguments", "parameters")

    def _calls_at_hand(self) -> Reading[None]:
        """One object, or a list of objects."""
        if (yield from self._blank()) != "[":
            yield from self._call_object()
            return
        self._at += 1
        while True:
            yield from self._blank()
            yield from self._call_object()
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect("]")
        self._kept = self._at

    def _call_object(self) -> Reading[None]:
        """``{"name": …, "arguments": {…}}``; the arguments may stand first, or be JSON in a string."""
        yield from self._expect("{")
        name: str | None = None
        held: str | None = None
        called = False
        while (yield from self._blank()) != "}":
            key = yield from self._text_value()
            yield from self._blank()
            yield from self._expect(":")
            first = yield from self._blank()
            if key == "name" and not called:
                name = yield from self._text_value()
                if self._offer.custom.get(name) is not False:
                    raise NotACallError
            elif key in self.argument_keys and not called:
                if first == "{" and name is not None:
                    yield from self._arguments(name)
                    called = True
                else:
                    start = self._at
                    yield from self._value(0)
                    held = self._text[start : self._at]
            elif called or key in _ABOUT:
                yield from self._value(0)
            else:
                raise NotACallError
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect("}")
        if called:
            self._kept = self._at
        else:
            self._whole(name, held)

    def _whole(self, name: str | None, held: str | None) -> None:
        """A call that was read before it could be said."""
        if name is None:
            raise NotACallError
        if held is not None and held.startswith('"'):
            held = str(json.loads(without_halves(held)))
        if held is None or held == "null":
            held = "{}"
        try:
            is_object = isinstance(json.loads(held), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            raise NotACallError
        self._begin(name)
        self._add(held)
        self._end()

    def _arguments(self, name: str) -> Reading[None]:
        """A call whose arguments, an object, are at hand. They go out as they come, whatever becomes of them:
        from where they are no JSON, up to the call's end."""
        if (yield from self._peek()) != "{":
            raise NotACallError
        self._begin(name)
        self._kept, self._streams = self._at, True
        try:
            yield from self._value(0)
        except NotACallError:
            self._spill()
            yield from self._free_text(self.ends)
            self._end()
            raise SectionEndError from None
        self._spill()
        self._streams = False
        self._end()
