"""How families of models write calls in literals."""

from typing import Any

from inferloom_worker.output.calls.literals import LiteralReader
from inferloom_worker.output.calls.reader import LONGEST_KEY, NotACallError, Reading


class PythonicReader(LiteralReader):
    """``[f(a=1), g(b="x")]`` as the whole answer, or between marks: Llama 3.2 and 4, and others."""

    markers = ("<|python_start|>",)
    openers = "["

    def _section(self) -> Reading[None]:
        yield from self._maybe("<|python_start|>")
        yield from self._list()
        yield from self._next("<|python_end|>")

    def _list(self) -> Reading[None]:
        yield from self._expect("[")
        while True:
            yield from self._blank()
            yield from self._call()
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect("]")
        self._kept = self._at

    def _call(self) -> Reading[None]:
        name = yield from self._name()
        yield from self._expect("(")
        arguments: dict[str, Any] = {}
        while (character := (yield from self._blank())) != ")":
            if character == "*":
                yield from self._expect("**")
                more = yield from self._literal()
                if not isinstance(more, dict):
                    raise NotACallError
                arguments |= more
            else:
                key = yield from self._name(LONGEST_KEY)
                yield from self._blank()
                yield from self._expect("=")
                arguments[key] = yield from self._literal()
            if (yield from self._blank()) != ",":
                break
            self._at += 1
        yield from self._expect(")")
        self._say_call(name, arguments)


class ToolCodeReader(PythonicReader):
    """The same in a fence of its own, one call a line or a list of them: Gemma 3."""

    markers = ("```tool_code\n",)
    openers = ""

    def _section(self) -> Reading[None]:
        self._at += len("```tool_code\n")
        while (character := (yield from self._blank())) not in ("`", ""):
            if character == "[":
                yield from self._list()
                continue
            printed = yield from self._maybe("print(")
            yield from self._call()
            if printed:
                yield from self._expect(")")
        yield from self._maybe("```")


class GemmaReader(LiteralReader):
    """``<start_function_call>call:name{key:<escape>text<escape>}<end_function_call>``: FunctionGemma, and
    with other marks Gemma 4."""

    markers = ("<start_function_call>", "<|tool_call>")
    quotes = ("<escape>", '<|"|>')

    def _section(self) -> Reading[None]:
        first = yield from self._maybe("<start_function_call>")
        if not first:
            yield from self._expect("<|tool_call>")
        while (yield from self._next("call:")):
            name = yield from self._name()
            if (yield from self._blank()) != "{":
                raise NotACallError
            arguments = yield from self._entries(0)
            self._say_call(name, arguments)
        yield from self._next("<end_function_call>" if first else "<tool_call|>")
