"""The forms of calls that are known, by name: how each is read, and how it is spelled where it is
enforced."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from inferloom_worker.output.calls.json_forms import DeepSeekReader, HermesReader, LlamaReader, MistralReader
from inferloom_worker.output.calls.literal_forms import GemmaReader, PythonicReader, ToolCodeReader
from inferloom_worker.output.calls.reader import CallReader


class Arguments(Enum):
    """What the arguments of a call look like."""

    OBJECT = "object"
    """A JSON object."""
    KEYWORDS = "keywords"
    """``name=value`` for each, with commas between, the values literals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolForm:
    """How a family of models writes calls: first, then each call (begin, name, named, arguments, end) with
    ``between`` between two, and last."""

    name: str
    reader: type[CallReader]
    begin: str = ""
    named: str = ""
    end: str = ""
    between: str = ""
    first: str = ""
    last: str = ""
    arguments: Arguments = Arguments.OBJECT
    trigger: str = ""
    """What shows that a call begins. Empty: nothing does."""
    marks: tuple[str, ...] = ()
    """Marks that may be special tokens of a vocabulary, and are read as text."""
    probes: tuple[str, ...] = ()
    """Regular expressions of a prompt in which a call of ``probe_tool`` with the argument ``probe_key`` was
    made; any of them shows that this is the form."""
    short_ids: bool = False
    """Whether its templates want ids of nine letters and digits."""

    def spelled(self, calls: Sequence[tuple[str, str]]) -> str:
        """Calls, each a name and its arguments in JSON, as text."""
        return self.first + self.between.join(self._spelled(*call) for call in calls) + self.last

    def _spelled(self, name: str, arguments: str) -> str:
        if self.arguments is Arguments.KEYWORDS:
            arguments = _keywords(arguments)
        return f"{self.begin}{name}{self.named}{arguments}{self.end}"


def _keywords(arguments: str) -> str:
    """A JSON object as keyword arguments; any other text as it is."""
    try:
        given = json.loads(arguments)
        return ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    except (ValueError, AttributeError, RecursionError):
        return arguments


_DEEPSEEK = tuple(
    f"<｜{name}｜>"
    for name in ("tool▁calls▁begin", "tool▁call▁begin", "tool▁sep", "tool▁call▁end", "tool▁calls▁end")
)
_CALLS, _CALL, _SEP, _CALL_END, _CALLS_END = _DEEPSEEK
_MISTRAL = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
_HERMES = ("<tool_call>", "</tool_call>")
_GEMMA = ("<start_function_call>", "<end_function_call>", "<escape>")
_GEMMA4 = ("<|tool_call>", "<tool_call|>", '<|"|>')

GENERIC = ToolForm(
    name="generic",
    reader=HermesReader,
    begin='<tool_call>\n{"name": "',
    named='", "arguments": ',
    end="}\n</tool_call>",
    between="\n",
    trigger="<tool_call>",
    marks=_HERMES,
)
"""Ours, for templates that write no calls, or write them in a form that is not known."""

FORMS = (
    ToolForm(
        name="hermes",
        reader=HermesReader,
        begin=GENERIC.begin,
        named=GENERIC.named,
        end=GENERIC.end,
        between=GENERIC.between,
        trigger=GENERIC.trigger,
        marks=_HERMES,
        probes=(r'<tool_call>\s*\[?\{"(name": "probe_tool|type": "function"|arguments": \{"probe_key)',),
    ),
    ToolForm(
        name="mistral-args",
        reader=MistralReader,
        begin="[TOOL_CALLS]",
        named="[ARGS]",
        trigger="[TOOL_CALLS]",
        marks=_MISTRAL,
        probes=(r"\[TOOL_CALLS\]\s*probe_tool(\[CALL_ID\]\w+)?\[ARGS\]",),
        short_ids=True,
    ),
    ToolForm(
        name="mistral-bare",
        reader=MistralReader,
        begin="[TOOL_CALLS]",
        trigger="[TOOL_CALLS]",
        marks=_MISTRAL,
        probes=(r"\[TOOL_CALLS\]\s*probe_tool\s*\{",),
        short_ids=True,
    ),
    ToolForm(
        name="mistral",
        reader=MistralReader,
        first="[TOOL_CALLS] [",
        begin='{"name": "',
        named='", "arguments": ',
        end="}",
        between=", ",
        last="]",
        trigger="[TOOL_CALLS]",
        marks=_MISTRAL,
        probes=(r"\[TOOL_CALLS\]\s*\[",),
        short_ids=True,
    ),
    ToolForm(
        name="deepseek-v3",
        reader=DeepSeekReader,
        first=_CALLS,
        begin=f"{_CALL}function{_SEP}",
        named="\n```json\n",
        end=f"\n```{_CALL_END}",
        between="\n",
        last=_CALLS_END,
        trigger=_CALLS,
        marks=_DEEPSEEK,
        probes=(f"{_CALL}function{_SEP}probe_tool",),
    ),
    ToolForm(
        name="deepseek-v31",
        reader=DeepSeekReader,
        first=_CALLS,
        begin=_CALL,
        named=_SEP,
        end=_CALL_END,
        last=_CALLS_END,
        trigger=_CALLS,
        marks=_DEEPSEEK,
        probes=(f"{_CALL}probe_tool{_SEP}",),
    ),
    ToolForm(
        name="gemma",
        reader=GemmaReader,
        begin="<start_function_call>call:",
        end="<end_function_call>",
        trigger="<start_function_call>",
        marks=_GEMMA,
        probes=(r"<start_function_call>call:probe_tool",),
    ),
    ToolForm(
        name="gemma4",
        reader=GemmaReader,
        begin="<|tool_call>call:",
        end="<tool_call|>",
        trigger="<|tool_call>",
        marks=_GEMMA4,
        probes=(r"<\|tool_call>call:probe_tool",),
    ),
    ToolForm(
        name="gemma-code",
        reader=ToolCodeReader,
        first="```tool_code\n",
        named="(",
        end=")",
        between="\n",
        last="\n```",
        arguments=Arguments.KEYWORDS,
        trigger="```tool_code\n",
        probes=(r"```tool_code\s+(print\()?\[?probe_tool\(",),
    ),
    ToolForm(
        name="llama4",
        reader=PythonicReader,
        first="<|python_start|>[",
        named="(",
        end=")",
        between=", ",
        last="]<|python_end|>",
        arguments=Arguments.KEYWORDS,
        trigger="<|python_start|>",
        marks=("<|python_start|>", "<|python_end|>"),
        probes=(r"<\|python_start\|>\s*\[probe_tool\(",),
    ),
    ToolForm(
        name="pythonic",
        reader=PythonicReader,
        first="[",
        named="(",
        end=")",
        between=", ",
        last="]",
        arguments=Arguments.KEYWORDS,
        probes=(r"\[probe_tool\(probe_key=",),
    ),
    ToolForm(
        name="llama3",
        reader=LlamaReader,
        begin='{"name": "',
        named='", "parameters": ',
        end="}",
        between="; ",
        trigger="<|python_tag|>",
        marks=("<|python_tag|>",),
        probes=(r'\{"name": "probe_tool", "parameters": \{"probe_key',),
    ),
    GENERIC,
)
"""In the order in which they are looked for."""

BY_NAME = {form.name: form for form in FORMS}
