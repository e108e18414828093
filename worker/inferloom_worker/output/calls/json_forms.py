"""How families of models write calls in JSON."""

from typing import ClassVar

from inferloom_worker.output.calls.json_calls import JsonReader
from inferloom_worker.output.calls.reader import NotACallError, Reading, SectionEndError


class HermesReader(JsonReader):
    """``<tool_call>{"name": …, "arguments": {…}}</tool_call>``: Hermes, Qwen, and our own form."""

    markers = ("<tool_call>",)
    ends = ("</tool_call>",)

    def _section(self) -> Reading[None]:
        self._at += len("<tool_call>")
        yield from self._calls_at_hand()
        yield from self._next("</tool_call>")


class LlamaReader(JsonReader):
    """``{"name": …, "parameters": {…}}``, as the whole answer, or behind a mark; several with ``;``
    between."""

    markers = ("<|python_tag|>",)
    openers = "{"

    def _section(self) -> Reading[None]:
        yield from self._maybe("<|python_tag|>")
        yield from self._calls_at_hand()
        while (yield from self._next(";")):
            yield from self._blank()
            yield from self._call_object()


class MistralReader(JsonReader):
    """``[TOOL_CALLS] [{"name": …, "arguments": {…}}, …]``, or ``[TOOL_CALLS]name[ARGS]{…}`` for each call,
    where the second mark, or an id before it, may be there or not."""

    markers = ("[TOOL_CALLS]",)
    ends = ("[TOOL_CALLS]",)

    def _section(self) -> Reading[None]:
        self._at += len("[TOOL_CALLS]")
        if (yield from self._blank()) in ("[", "{"):
            yield from self._calls_at_hand()
            return
        name = yield from self._name()
        if (yield from self._maybe("[CALL_ID]")):
            yield from self._name()
        yield from self._maybe("[ARGS]")
        yield from self._blank()
        yield from self._arguments(name)


class MarkedReader(JsonReader):
    """Calls between marks of their own, in a section: ``markers`` begin the section and a call."""

    last: ClassVar[str]
    """What ends the section."""

    def _section(self) -> Reading[None]:
        first, begin = self.markers
        yield from self._maybe(first)
        while (yield from self._next(begin)):
            try:
                yield from self._call()
            except SectionEndError:
                if self.done:
                    raise
            self._kept = self._at
        yield from self._next(self.last)

    def _call(self) -> Reading[None]:
        """A call, behind its mark."""
        raise NotImplementedError


class DeepSeekReader(MarkedReader):
    """Calls between marks of their own. V3 and R1 say of what type each is, and fence its JSON; V3.1 does
    neither."""

    markers = ("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>")
    last = "<｜tool▁calls▁end｜>"
    ends = ("\n```<｜tool▁call▁end｜>", "<｜tool▁call▁end｜>")

    def _call(self) -> Reading[None]:
        name = yield from self._name()
        yield from self._expect("<｜tool▁sep｜>")
        fenced = name == "function" and (yield from self._peek()) not in ("{", "")
        if fenced:
            name = yield from self._name()
            yield from self._expect("\n```json\n")
        yield from self._blank()
        yield from self._arguments(name)
        yield from self._blank()
        if fenced:
            yield from self._maybe("```")
        if not (yield from self._maybe("<｜tool▁call▁end｜>")):
            raise NotACallError


class KimiReader(MarkedReader):
    """``functions.name:0`` and its arguments between marks of their own, in a section: Kimi K2."""

    markers = ("<|tool_calls_section_begin|>", "<|tool_call_begin|>")
    last = "<|tool_calls_section_end|>"
    ends = ("<|tool_call_end|>",)

    def _call(self) -> Reading[None]:
        yield from self._blank()
        yield from self._maybe("functions.")
        name = yield from self._name()
        if (yield from self._maybe(":")):
            yield from self._name()
        yield from self._blank()
        yield from self._expect("<|tool_call_argument_begin|>")
        yield from self._blank()
        yield from self._arguments(name)
        yield from self._next("<|tool_call_end|>")


class LinesReader(JsonReader):
    """Objects of calls between two tags, each on a line, or as a list: MiniMax M1, Jamba."""

    markers = ("<tool_calls>",)
    ends = ("\n", "</tool_calls>")

    def _section(self) -> Reading[None]:
        self._at += len("<tool_calls>")
        while (yield from self._blank()) in ("{", "["):
            try:
                yield from self._calls_at_hand()
            except SectionEndError:
                if self.done:
                    raise
        yield from self._next("</tool_calls>")
