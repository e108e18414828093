"""Chat templates that write tools and calls as families of models do, no longer than that takes."""

_TURNS = """{% for m in messages %}
{%- if m.tool_calls %}<a>{{ m.content or '' }}CALLS<e>
{%- elif m.role == 'tool' %}<t>{{ m.content }}<e>
{%- else %}<{{ m.role[0] }}>{{ m.content }}<e>
{%- endif %}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"""
_TOOLS = "{% if tools %}Tools: {{ tools | tojson }}\n{% endif %}"


def _template(each: str, before: str = "", after: str = "") -> str:
    """One that writes ``each`` call ``c``, of the function ``f``, like this."""
    calls = "{% for c in m.tool_calls %}{% set f = c.function %}" + each + "{% endfor %}"
    return _TOOLS + _TURNS.replace("CALLS", before + calls + after)


_PAIRS = (
    "{% for k, v in f.arguments.items() %}{{ k }}={{ v | tojson }}{{ ', ' if not loop.last }}{% endfor %}"
)
_FIELDS = "{% for k, v in f.arguments.items() %}{{ k }}:<escape>{{ v }}<escape>{% endfor %}"

_TAGGED = (
    "{% for k, v in f.arguments.items() %}BEGIN{{ k }}NAMED"
    "{{ v if v is string else v | tojson }}END{% endfor %}"
)


def _tagged(begin: str, named: str, end: str) -> str:
    return _TAGGED.replace("BEGIN", begin).replace("NAMED", named).replace("END", end)


TEMPLATES = {
    "qwen3-coder": _template(
        "<tool_call>\n<function={{ f.name }}>\n"
        + _tagged("<parameter=", ">\n", "\n</parameter>\n")
        + "</function>\n</tool_call>\n"
    ),
    "seed": _template(
        "<seed:tool_call>\n<function={{ f.name }}>\n"
        + _tagged("<parameter=", ">", "</parameter>\n")
        + "</function>\n</seed:tool_call>"
    ),
    "glm45": _template(
        "\n<tool_call>{{ f.name }}\n"
        + _tagged("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n")
        + "</tool_call>"
    ),
    "glm47": _template(
        "<tool_call>{{ f.name }}"
        + _tagged("<arg_key>", "</arg_key><arg_value>", "</arg_value>")
        + "</tool_call>"
    ),
    "minimax-m2": _template(
        '<invoke name="{{ f.name }}">\n'
        + _tagged('<parameter name="', '">', "</parameter>\n")
        + "</invoke>\n",
        "<minimax:tool_call>\n",
        "</minimax:tool_call>",
    ),
    "minimax-m1": _template(
        '\n{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}',
        "<tool_calls>",
        "\n</tool_calls>",
    ),
    "kimi-k2": _template(
        "<|tool_call_begin|>{{ c.id }}<|tool_call_argument_begin|>{{ f.arguments | tojson }}"
        "<|tool_call_end|>",
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
    ),
    "harmony": _template(
        "<|start|>assistant to=functions.{{ f.name }}<|channel|>commentary json<|message|>"
        "{{ f.arguments | tojson }}<|call|>"
    ),
    "hermes": _template(
        '<tool_call>\n{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}\n</tool_call>'
    ),
    "mistral": _template(
        '{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}, "id": "{{ c.id }}"}'
        "{{ ', ' if not loop.last }}{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}",
        "[TOOL_CALLS] [",
        "]",
    ),
    "mistral-args": _template("[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}"),
    "mistral-bare": _template("[TOOL_CALLS]{{ f.name }}{{ f.arguments | tojson }}"),
    "llama3": _template('{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}'),
    "deepseek-v3": _template(
        "<｜tool▁call▁begin｜>{{ c.type }}<｜tool▁sep｜>{{ f.name }}\n```json\n"
        "{{ '' + f.arguments }}\n```<｜tool▁call▁end｜>",
        "{% if m.content is not none %}{{ raise_exception('content') }}{% endif %}<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
    ),
    "deepseek-v31": _template(
        "<｜tool▁call▁begin｜>{{ f.name }}<｜tool▁sep｜>{{ '' + f.arguments }}<｜tool▁call▁end｜>",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
    ),
    "pythonic": _template("{{ f.name }}(" + _PAIRS + ")", "[", "]"),
    "llama4": _template("{{ f.name }}(" + _PAIRS + ")", "<|python_start|>[", "]<|python_end|>"),
    "gemma-code": _template("{{ f.name }}(" + _PAIRS + ")\n", "```tool_code\n", "```"),
    "gemma": _template("<start_function_call>call:{{ f.name + '{' }}" + _FIELDS + "}<end_function_call>"),
    "gemma4": _template("<|tool_call>call:{{ f.name + '{' }}" + _FIELDS + "}<tool_call|>"),
    "generic": "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}<e>{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}",
}
"""By the name of the form. The last one knows no tools."""
