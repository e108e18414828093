"""What a chat template does with tools and calls, found out by trying."""

from dataclasses import dataclass
from itertools import product
from typing import Any

from inferloom_mesh.errors import InferloomError
from inferloom_worker.text.template import ChatTemplate

PROBE_TOOL, PROBE_KEY = "probe_tool", "probe_key"

_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": PROBE_TOOL,
        "description": "Probes.",
        "parameters": {
            "type": "object",
            "properties": {PROBE_KEY: {"type": "string", "description": "A value."}},
            "required": [PROBE_KEY],
        },
    },
}
_ASKED: dict[str, Any] = {"role": "user", "content": "a"}


_IDS = ("probecall", f"functions.{PROBE_TOOL}:0")

_OBJECT = {PROBE_KEY: "b"}
_TEXT = f'{{"{PROBE_KEY}": "b"}}'
_CUT = _TEXT[:-3]
"""As a model writes them that comes to its end in their midst."""


@dataclass(frozen=True, slots=True)
class ToolTraits:
    """How a template wants tools and calls."""

    shows_tools: bool = False
    """Whether the prompt names the tools that it is given."""
    call: str = ""
    """A prompt in which :data:`PROBE_TOOL` was called. Empty: the template shows no calls."""
    text_arguments: bool = False
    """Whether arguments are given as JSON text instead of an object."""
    needs_object: bool = False
    """Whether it is refused, or fails, where arguments are no object."""
    null_content: bool = False
    """Whether a turn that only calls has None for content instead of an empty text."""


def find_traits(template: ChatTemplate) -> ToolTraits:
    """Try a template that has been checked."""
    listed = _rendered(template, [_ASKED])
    shows_tools = PROBE_TOOL in listed
    # Some templates write a call's id in place of its name.
    for call_id, content, as_text in product(_IDS, ("", None), (False, True)):
        prompt = _rendered(template, [_ASKED, *_turns(call_id, content, _TEXT if as_text else _OBJECT)])
        shown = all(prompt.count(word) > listed.count(word) for word in (PROBE_TOOL, PROBE_KEY))
        # As Python spells it, or in quotes once more: the template wants them otherwise.
        wrong = f"'{PROBE_KEY}': 'b'" in prompt or f'\\"{PROBE_KEY}\\"' in prompt
        if shown and not wrong:
            cut = _rendered(template, [_ASKED, *_turns(call_id, content, _CUT)])
            return ToolTraits(
                shows_tools,
                prompt,
                text_arguments=as_text,
                needs_object=cut.count(PROBE_TOOL) <= listed.count(PROBE_TOOL),
                null_content=content is None,
            )
    return ToolTraits(shows_tools)


def _turns(call_id: str, content: str | None, arguments: Any) -> list[dict[str, Any]]:
    call = {
        "id": call_id,
        "type": "function",
        "function": {"name": PROBE_TOOL, "arguments": arguments},
    }
    return [
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "name": PROBE_TOOL, "content": "c"},
    ]


def _rendered(template: ChatTemplate, messages: list[dict[str, Any]]) -> str:
    try:
        return template.render(messages, tools=[_TOOL])
    except InferloomError:  # as a template may
        return ""
