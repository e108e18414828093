"""What the servers are called, and what each honours: one table.

Sources are the servers' own: vLLM's and llama.cpp's request schemas, SGLang's and Ollama's documentation of
their OpenAI-compatible endpoints. What a server takes and ignores is not listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from inferloom_worker.constrain.grammar import Kind as GrammarKind


class ServerKind(Enum):
    """Who speaks."""

    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA = "llama-server"
    OLLAMA = "ollama"
    OPENAI = "openai"
    """Any other that speaks OpenAI's API."""


_ALL = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "max_tokens", "stop")
_LOGPROBS = ("logprobs", "top_logprobs")
_OWN = {"priority": "", "echo": ""}
"""Done by the worker, whatever the server can: who waits first, and repeating a text."""


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How one kind of server is spoken to.

    ``parameters`` are the optional fields of the contract that it honours, with what its JSON calls them;
    those with an empty name are spelled by code. ``chat_parameters`` come with conversations alone;
    ``variables`` are all that a chat template reads, or one of them by its name.
    """

    parameters: Mapping[str, str]
    chat_parameters: Mapping[str, str] = field(default_factory=dict)
    grammars: frozenset[GrammarKind] = frozenset({GrammarKind.JSON_SCHEMA})
    """The constraints that it can hold answers to."""
    grammar_forms: frozenset[str] = frozenset()
    """What it reads where they may be grammars: ``lark``, ``gbnf``."""
    constrains_text: bool = True
    """Whether completions of plain text may have one."""
    health: str = "/health"
    """Path, from its root, that is fine where it can answer."""
    reasoning: str = "reasoning_content"
    """What reasoning in a message is called."""
    token_ids: bool = False
    """Whether it tells the ids of the tokens of every answer."""
    takes_ids: bool = True
    """Whether a prompt or an input may be token ids."""
    largest_seed: int = 2**63 - 1
    every_top_k: int = 0
    """What it calls drawing among all tokens."""
    null_max_tokens: bool = False
    """Whether a completion needs ``max_tokens: null`` to be as long as there is room."""
    gauges: Mapping[str, str] = field(default_factory=dict)
    """Names of its metrics: running, waiting, kv_use (0 to 1)."""


TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
"""Fields of conversations with tools."""

_TEMPLATE = {
    **_same("add_generation_prompt", "continue_final_message"),
    "variables": "chat_template_kwargs",
}

MANNERS: dict[ServerKind, Manner] = {
    ServerKind.VLLM: Manner(
        parameters={
            **_same(*_ALL, *_LOGPROBS, "top_k", "min_p", "repetition_penalty", "logit_bias", "n"),
            **_same("allowed_token_ids", "bad_words", "min_tokens", "stop_token_ids", "ignore_eos"),
            **_same("skip_special_tokens", "cache_salt"),
            **_OWN,
            "include_stop": "include_stop_str_in_output",
            "prompt_token_ids": "",
        },
        chat_parameters={**_same(*TOOLS), **_TEMPLATE},
        grammars=frozenset(GrammarKind) - {GrammarKind.LLGUIDANCE},
        grammar_forms=frozenset({"lark", "gbnf"}),
        reasoning="reasoning",
        token_ids=True,
        null_max_tokens=True,
        gauges={
            "running": "vllm:num_requests_running",
            "waiting": "vllm:num_requests_waiting",
            "kv_use": "vllm:kv_cache_usage_perc",
        },
    ),
    ServerKind.SGLANG: Manner(
        parameters={
            **_same(*_ALL, *_LOGPROBS, "top_k", "min_p", "repetition_penalty", "logit_bias", "n"),
            **_same("min_tokens", "stop_token_ids", "ignore_eos", "skip_special_tokens"),
            **_OWN,
            "include_stop": "no_stop_trim",
        },
        chat_parameters={
            **_same("tools", "tool_choice", "continue_final_message"),
            "variables": "chat_template_kwargs",
        },
        grammars=frozenset(GrammarKind) - {GrammarKind.LLGUIDANCE},
        grammar_forms=frozenset({"gbnf"}),
        every_top_k=-1,
        gauges={
            "running": "sglang:num_running_reqs",
            "waiting": "sglang:num_queue_reqs",
            "kv_use": "sglang:token_usage",
        },
    ),
    ServerKind.LLAMA: Manner(
        parameters={
            **_same(*_ALL, *_LOGPROBS, "top_k", "min_p", "logit_bias", "n", "ignore_eos"),
            **_OWN,
            "repetition_penalty": "repeat_penalty",
        },
        chat_parameters={**_same(*TOOLS), **_TEMPLATE},
        grammars=frozenset({GrammarKind.JSON_SCHEMA, GrammarKind.CHOICE, GrammarKind.LARK}),
        grammar_forms=frozenset({"gbnf"}),
        largest_seed=2**31 - 1,
        gauges={
            "running": "llamacpp:requests_processing",
            "waiting": "llamacpp:requests_deferred",
        },
    ),
    ServerKind.OLLAMA: Manner(
        parameters={**_same(*_ALL), **_OWN},
        chat_parameters=_same("tools", "reasoning_effort"),
        constrains_text=False,
        health="/api/version",
        reasoning="reasoning",
        takes_ids=False,
        largest_seed=2**31 - 1,
    ),
    ServerKind.OPENAI: Manner(
        parameters={**_same(*_ALL), **_OWN},
        chat_parameters=_same("tools", "tool_choice"),
        constrains_text=False,
        health="",
        takes_ids=False,
    ),
}
