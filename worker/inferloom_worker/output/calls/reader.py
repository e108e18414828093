"""What all readers of calls share: text goes in by pieces, and calls come out as soon as they are sure.

A reader is a coroutine over the characters of a text. It asks for the next one where it has none, so what it
finds cannot depend on how the text was cut. What began like a call and turns out to be none is text, and is
searched for a later beginning.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import TypeVar

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.tool_name import LONGEST_TOOL_NAME
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.parsing import Said, begun

T = TypeVar("T")

Reading = Generator[None, None, T]
"""Work that waits for text wherever it yields."""

MOST_HELD = 2**18
"""Characters that are held back at most until it is known what they are."""

LONGEST_KEY = 256
"""Characters of an argument's name, where it stands without quotes."""

CUSTOM_BEGIN = '<custom_tool_call name="'
CUSTOM_NAMED = '">\n'
CUSTOM_END = "\n</custom_tool_call>"
"""Our own form of calls with free text, for which no template has one."""


class NotACallError(Exception):
    """What looked like a call is none."""


class SectionEndError(Exception):
    """The end of a section of calls, from the midst of it: there may be no more, or one was broken off."""


class CallReader(ABC):
    """Reads calls out of a text, as one family of models writes them. A
    :class:`~inferloom_worker.output.parsing.Parser`.

    Args:
        offer: What can be called. A call of anything else is text.
    """

    markers: Sequence[str] = ()
    """What calls begin with."""

    thinking = False

    silent = False
    """Whether marks without a call in them are read and not said."""

    openers: str = ""
    """Characters that, first of all in an answer, may begin calls without a marker."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._markers = [*self.markers, *([CUSTOM_BEGIN] if any(offer.custom.values()) else [])]
        self._text = ""
        self._at = 0
        self._over = False
        self._kept: int | None = None
        """Where reading goes on if this is no call. None: outside of calls."""
        self._streams = False
        """Whether arguments go out as they come, so that nothing before this place is needed any more."""
        self._space = ""
        """White space whose place is not known yet: it may stand between calls."""
        self._quiet = True
        """Whether nothing was said since the beginning, or since the last call."""
        self.calls = 0
        """Calls that are complete."""
        self._said = Said()
        self._work = self._run()
        self.done = False
        """Whether there are as many calls as there may be: what follows is not read."""

    def push(self, text: str) -> Said:
        """What became final with more text."""
        self._said = Said()
        if not self.done:
            self._text += text
            self._go_on()
            if self._kept is None or self._streams:
                self._text, self._at = self._text[self._at :], 0
                self._kept = 0 if self._streams else None
        return self._said

    def flush(self) -> Said:
        """The rest, when no text follows."""
        self._said = Said()
        self._over = True
        if not self.done:
            self._go_on()
            if not self.calls:
                self._said.add_text(self._space)
        return self._said

    def _go_on(self) -> None:
        next(self._work, None)

    # The search

    def _run(self) -> Reading[None]:
        first = True
        while (yield from self._found(first)):
            first = False
            self._kept, before = self._at, self.calls
            try:
                if self._text.startswith(CUSTOM_BEGIN, self._at) and CUSTOM_BEGIN in self._markers:
                    yield from self._custom()
                else:
                    yield from self._section()
                if self.calls == before and not self.silent:
                    raise NotACallError
            except NotACallError:
                self._at = self._kept + 1
                self._say(self._text[self._kept : self._at])
            except SectionEndError:
                pass
            self._kept = None
            if self.done:
                return

    @abstractmethod
    def _section(self) -> Reading[None]:
        """Read calls whose beginning is at hand, and their end.

        Raises:
            NotACallError: This is none; reading goes on behind what was kept last.
        """

    def _found(self, first: bool) -> Reading[bool]:
        """Say all text before the next marker, and stop there. False: the text is over."""
        if first and self.openers and (yield from self._opened()):
            return True
        while True:
            places = [place for m in self._markers if (place := self._text.find(m, self._at)) >= 0]
            if places:
                self._pass(min(places))
                return True
            self._pass(len(self._text) - (0 if self._over else begun(self._text, self._at, self._markers)))
            if self._over:
                return False
            yield

    def _opened(self) -> Reading[bool]:
        place = self._at
        while True:
            while place < len(self._text) and self._text[place].isspace():
                place += 1
            if place < len(self._text):
                break
            if self._over:
                return False
            yield
        if self._text[place] not in self.openers:
            return False
        self._pass(place)
        return True

    def _pass(self, end: int) -> None:
        self._say(self._text[self._at : end])
        self._at = end

    def _say(self, text: str) -> None:
        """Add plain text; white space at its beginning only once it is no edge of a call."""
        if self._quiet:
            self._space += text
            if not self._space or self._space.isspace():
                return
            text, self._space, self._quiet = self._space, "", False
        self._said.add_text(text)

    # Pieces of a call

    def _more(self) -> Reading[bool]:
        """Wait until there is a character at hand. False: there is none to come."""
        while self._at >= len(self._text):
            self._spill()
            if self._over:
                return False
            if self._kept is not None and self._at - self._kept > MOST_HELD:
                raise NotACallError
            yield
        return True

    def _peek(self) -> Reading[str]:
        """The next character; none where the text is over."""
        if self._at >= len(self._text) and not (yield from self._more()):
            return ""
        return self._text[self._at]

    def _blank(self) -> Reading[str]:
        """Skip white space; the next character, as :meth:`_peek`."""
        while (character := (yield from self._peek())).isspace():
            self._at += 1
        return character

    def _expect(self, literal: str) -> Reading[None]:
        """Read just this."""
        for character in literal:
            if (yield from self._peek()) != character:
                raise NotACallError
            self._at += 1

    def _maybe(self, literal: str) -> Reading[bool]:
        """Read this where it stands here; a beginning of it that the text's end cuts off counts."""
        start = self._at
        for character in literal:
            found = yield from self._peek()
            if not found:
                return self._at > start
            if found != character:
                self._at = start
                return False
            self._at += 1
        return True

    def _next(self, literal: str) -> Reading[bool]:
        """Read white space and this, where both stand here; nothing where they do not."""
        start = self._at
        if (yield from self._blank()) and (yield from self._maybe(literal)):
            return True
        if self._at < len(self._text):
            self._at = start
        return False

    def _name(self, longest: int = LONGEST_TOOL_NAME) -> Reading[str]:
        """The name at hand, a tool's or one that is spelled like those; empty where there is none."""
        start = self._at
        while (c := (yield from self._peek())).isascii() and (c.isalnum() or c in "_-") and c:
            self._at += 1
            if self._at - start > longest:
                raise NotACallError
        return self._text[start : self._at]

    # Calls

    def _begin(self, name: str, *, custom: bool = False) -> None:
        """Say that a call began."""
        if self._offer.custom.get(name) is not custom:
            raise NotACallError
        call_id = self._offer.new_id(self.calls)
        delta = pb.ToolCallDelta(index=self.calls, id=call_id, name=name, custom=custom)
        self._said.add_call(delta)
        self._space, self._quiet = "", True

    def _add(self, arguments: str, *, custom: bool = False) -> None:
        """Say more of the arguments of the call that began last."""
        if arguments:
            self._said.add_call(pb.ToolCallDelta(index=self.calls, arguments=arguments, custom=custom))

    def _end(self) -> None:
        """Say that the call that began last is complete."""
        self.calls += 1
        self._kept = self._at
        self.done = self.calls == self._offer.most
        if self.done:
            raise SectionEndError

    def _spill(self) -> None:
        """Say what was read of arguments that go out as they come."""
        if self._streams and self._kept is not None:
            self._add(self._text[self._kept : self._at])
            self._kept = self._at

    def _custom(self) -> Reading[None]:
        self._at += len(CUSTOM_BEGIN)
        name = yield from self._name()
        yield from self._expect(CUSTOM_NAMED)
        self._begin(name, custom=True)
        yield from self._free_text((CUSTOM_END,), custom=True)
        self._end()

    def _free_text(self, ends: Sequence[str], *, custom: bool = False) -> Reading[None]:
        """Say text as it comes, up to an end, which is not part of it, or to the text's end. The end is read,
        except where it begins the next call."""
        while True:
            found = [(place, -len(end)) for end in ends if (place := self._text.find(end, self._at)) >= 0]
            sure, size = min(found, default=(len(self._text), 0))
            if not found and not self._over:
                sure -= begun(self._text, self._at, ends)
            self._add(self._text[self._at : sure], custom=custom)
            begins = size and self._text[sure : sure - size] in self._markers
            self._at = self._kept = sure if begins else sure - size
            if found or self._over:
                self._streams = False
                return
            self._streams = True
            yield
