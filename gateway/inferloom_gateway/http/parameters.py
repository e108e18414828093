"""What becomes of body fields that a schema does not declare.

Three kinds: hints that change nothing about an answer are accepted; fields that are known and not
supported are refused, unless their value asks for nothing; fields that nobody knows are ignored and named
to the caller.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from inferloom_mesh.errors import unsupported

IGNORED_HEADER = "x-inferloom-ignored"
_MOST_NAMED = 32

_HINTS = frozenset(
    {
        "user",
        "metadata",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "service_tier",
        "verbosity",
    }
)

# The values with which a parameter asks for nothing, besides null.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    # OpenAI's own
    "audio": (),
    "best_of": (1,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "prediction": (),
    "reasoning_effort": ("none",),
    "store": (False,),
    "suffix": ("",),
    "web_search_options": (),
    # of another endpoint, where they are declared
    "chat_template_kwargs": ({},),
    "echo": (False,),
    "max_completion_tokens": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    # of other OpenAI-compatible servers
    "allowed_token_ids": (),
    "bad_words": ([],),
    "chat_template": (),
    "documents": ([],),
    "early_stopping": (False,),
    "grammar": ("",),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_json": (),
    "guided_regex": (),
    "length_penalty": (1,),
    "logits_processors": ([],),
    "lora_path": (),
    "mirostat": (0,),
    "prompt_logprobs": (),
    "regex": (),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "structured_outputs": (),
    "truncate_prompt_tokens": (),
    "typical_p": (1,),
    "use_beam_search": (False,),
}


def judge(extra: Mapping[str, Any] | None) -> list[str]:
    """Return the names that nobody knows.

    Raises:
        InferloomError: A parameter is known and not supported.
    """
    unknown: list[str] = []
    for name, value in (extra or {}).items():
        if name in _HINTS:
            continue
        if name not in _UNSUPPORTED:
            unknown.append(name)
        elif value is not None and value not in _UNSUPPORTED[name]:
            raise unsupported(name)
    return unknown


def ignored_header(names: list[str]) -> dict[str, str]:
    """The response header that names ignored fields; none if there are none."""
    if not names:
        return {}
    return {IGNORED_HEADER: ", ".join(quote(name[:64], safe="") for name in names[:_MOST_NAMED])}
