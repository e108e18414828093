"""The forms of calls that are known, by name."""

from inferloom_worker.output.calls.form import Arguments, Tags, ToolForm
from inferloom_worker.output.calls.harmony import MARKS as HARMONY_MARKS
from inferloom_worker.output.calls.harmony import HarmonyReader
from inferloom_worker.output.calls.json_forms import (
    DeepSeekReader,
    HermesReader,
    KimiReader,
    LinesReader,
    LlamaReader,
    MistralReader,
)
from inferloom_worker.output.calls.literal_forms import GemmaReader, PythonicReader, ToolCodeReader
from inferloom_worker.output.calls.tagged import GlmReader, MiniMaxReader, QwenCoderReader, SeedReader

_DEEPSEEK = tuple(
    f"<｜{name}｜>"
    for name in ("tool▁calls▁begin", "tool▁call▁begin", "tool▁sep", "tool▁call▁end", "tool▁calls▁end")
)
_CALLS, _CALL, _SEP, _CALL_END, _CALLS_END = _DEEPSEEK
_MISTRAL = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
_GLM = ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
_HERMES = ("<tool_call>", "</tool_call>")
_KIMI = tuple(
    f"<|tool_{name}|>"
    for name in ("calls_section_begin", "call_begin", "call_argument_begin", "call_end", "calls_section_end")
)
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
        name="qwen3-coder",
        reader=QwenCoderReader,
        begin="<tool_call>\n<function=",
        named=">\n",
        end="</function>\n</tool_call>",
        between="\n",
        arguments=Arguments.TAGS,
        tags=Tags("<parameter=", ">\n", "\n</parameter>\n"),
        trigger="<tool_call>",
        marks=_HERMES,
        probes=(r"<tool_call>\s*<function=probe_tool>\s*<parameter=probe_key>",),
    ),
    ToolForm(
        name="seed",
        reader=SeedReader,
        begin="<seed:tool_call>\n<function=",
        named=">\n",
        end="</function>\n</seed:tool_call>",
        between="\n",
        arguments=Arguments.TAGS,
        tags=Tags("<parameter=", ">", "</parameter>\n"),
        trigger="<seed:tool_call>",
        marks=("<seed:tool_call>", "</seed:tool_call>"),
        probes=(r"<seed:tool_call>\s*<function=probe_tool>\s*<parameter=probe_key>",),
    ),
    ToolForm(
        name="glm47",
        reader=GlmReader,
        begin="<tool_call>",
        end="</tool_call>",
        arguments=Arguments.TAGS,
        tags=Tags("<arg_key>", "</arg_key><arg_value>", "</arg_value>"),
        trigger="<tool_call>",
        marks=(*_HERMES, *_GLM),
        probes=(r"<tool_call>probe_tool<arg_key>probe_key</arg_key><arg_value>",),
    ),
    ToolForm(
        name="glm45",
        reader=GlmReader,
        begin="<tool_call>",
        named="\n",
        end="</tool_call>",
        between="\n",
        arguments=Arguments.TAGS,
        tags=Tags("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"),
        trigger="<tool_call>",
        marks=(*_HERMES, *_GLM),
        probes=(r"<tool_call>\s*probe_tool\s*<arg_key>probe_key</arg_key>",),
    ),
    ToolForm(
        name="minimax-m2",
        reader=MiniMaxReader,
        first="<minimax:tool_call>\n",
        begin='<invoke name="',
        named='">\n',
        end="</invoke>",
        between="\n",
        last="\n</minimax:tool_call>",
        arguments=Arguments.TAGS,
        tags=Tags('<parameter name="', '">', "</parameter>\n"),
        trigger="<minimax:tool_call>",
        marks=("<minimax:tool_call>", "</minimax:tool_call>"),
        probes=(r'<invoke name="probe_tool">\s*<parameter name="probe_key">',),
    ),
    ToolForm(
        name="minimax-m1",
        reader=LinesReader,
        first="<tool_calls>\n",
        begin='{"name": "',
        named='", "arguments": ',
        end="}",
        between="\n",
        last="\n</tool_calls>",
        trigger="<tool_calls>",
        marks=("<tool_calls>", "</tool_calls>"),
        probes=(r'<tool_calls>\s*\[?\{"(name": "probe_tool|arguments": \{"probe_key)',),
    ),
    ToolForm(
        name="kimi-k2",
        reader=KimiReader,
        first=_KIMI[0],
        begin=f"{_KIMI[1]}functions.",
        named=_KIMI[2],
        end=_KIMI[3],
        last=_KIMI[4],
        numbered=True,
        trigger=_KIMI[0],
        marks=_KIMI,
        probes=(
            r"<\|tool_call_begin\|>\s*(functions\.probe_tool:0|probecall)\s*<\|tool_call_argument_begin\|>",
        ),
    ),
    ToolForm(
        name="harmony",
        reader=HarmonyReader,
        begin="<|channel|>commentary to=functions.",
        named=" <|constrain|>json<|message|>",
        alone=True,
        channels=True,
        marks=HARMONY_MARKS,
        probes=(r"to=functions\.probe_tool\b[^{}]*<\|message\|>",),
    ),
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

CHANNELS = next(form for form in FORMS if form.channels)

BY_NAME = {form.name: form for form in FORMS}
