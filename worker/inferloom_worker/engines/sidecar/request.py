"""A checked request as the JSON that a server is sent. Pure."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import unsupported
from inferloom_worker.engines.sidecar.constraints import constraint
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.messages import messages, tool_choice, tools, variables
from inferloom_worker.engines.sidecar.variables import not_supported, spelled
from inferloom_worker.validate.generate import (
    DRAWN,
    ChatPrompt,
    CompletionRequest,
    TextPrompt,
    TokenPrompt,
)

_PENALTIES = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0}
"""And the value of each that is none."""


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """What is posted, and where."""

    path: str
    """Behind the address of OpenAI's endpoints."""
    body: dict[str, Any]
    chat: bool
    notes: tuple[str, ...] = ()
    """What of the request is left to the server, one sentence each."""


def server_request(asked: CompletionRequest, facts: Facts, cache_salt: str = "") -> ServerRequest:
    """What the server is asked for.

    Args:
        asked: The request; its optional fields are among those that the model's card lists, but for those of
            conversations and constraints.
        facts: What the server is.
        cache_salt: Whom cached state is shared with; empty: with everybody.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER at something that the server cannot do.
    """
    body: dict[str, Any] = {
        "model": facts.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_drawn(asked, facts),
        **_stopping(asked, facts),
        **_output(asked, facts),
    }
    if cache_salt and "cache_salt" in facts.manner.parameters:
        # A tenant's name is nobody else's business.
        body["cache_salt"] = blake2b(cache_salt.encode(), digest_size=16).hexdigest()
    notes: list[str] = []
    prompt = asked.prompt
    if isinstance(prompt, ChatPrompt):
        body |= _chat(prompt.chat, facts, notes)
    else:
        body |= _text(prompt, facts)
        if asked.stopping.max_tokens is None and facts.manner.null_max_tokens:
            body["max_tokens"] = None
        elif asked.stopping.max_tokens is None and facts.kind in (ServerKind.SGLANG, ServerKind.OPENAI):
            notes.append("max_tokens was left to the model's server, which has a default of its own.")
    chat = isinstance(prompt, ChatPrompt)
    if asked.grammar is not None:
        body |= constraint(asked.grammar, facts.kind, chat=chat)
    return ServerRequest("/chat/completions" if chat else "/completions", body, chat, tuple(notes))


def _drawn(asked: CompletionRequest, facts: Facts) -> dict[str, Any]:
    """What the request says itself; the rest is the server's own."""
    names, body = facts.manner.parameters, dict[str, Any]()
    for name in DRAWN:
        if name in asked.said and name in names:
            body[names[name]] = _short(getattr(asked.sampling, name))
    if body.get("top_k") == 0:
        body["top_k"] = facts.manner.every_top_k
    if facts.kind is ServerKind.LLAMA and _penalises(asked) and facts.context_length:
        body["repeat_last_n"] = facts.context_length  # it would look at the last 64 tokens only
    if "seed" in asked.said:
        body["seed"] = seed_of(asked.sampling.seed, facts)
    if asked.sampling.logit_bias:
        body["logit_bias"] = {str(token): _short(bias) for token, bias in asked.sampling.logit_bias.items()}
    if asked.n > 1:
        body["n"] = asked.n
    if asked.allowed is not None:
        body["allowed_token_ids"] = sorted(asked.allowed)
    if asked.bad_words:
        body["bad_words"] = list(asked.bad_words)
    return body


def _penalises(asked: CompletionRequest) -> bool:
    """Whether it asks for a penalty: one of nothing is as none, and changes nothing of the server's own."""
    return any(
        name in asked.said and getattr(asked.sampling, name) != none for name, none in _PENALTIES.items()
    )


def seed_of(seed: int, facts: Facts) -> int:
    """A seed as the server takes it: those that are too large for it are folded."""
    return seed & facts.manner.largest_seed


def _stopping(asked: CompletionRequest, facts: Facts) -> dict[str, Any]:
    stopping, names = asked.stopping, facts.manner.parameters
    body: dict[str, Any] = {}
    if stopping.max_tokens is not None:
        body["max_tokens"] = stopping.max_tokens
    if stopping.min_tokens:
        body["min_tokens"] = stopping.min_tokens
    if stopping.strings:
        body["stop"] = list(stopping.strings)
    if stopping.token_ids:
        body["stop_token_ids"] = sorted(stopping.token_ids)
    if stopping.ignore_eos:
        body["ignore_eos"] = True
    if stopping.include_stop:
        body[names["include_stop"]] = True
    return body


def _output(asked: CompletionRequest, facts: Facts) -> dict[str, Any]:
    body: dict[str, Any] = {}
    chat, top = isinstance(asked.prompt, ChatPrompt), asked.top_logprobs
    if top is not None and facts.kind is ServerKind.LLAMA:
        top = max(top, 1)  # without alternatives it tells nothing
    if top is not None:
        body |= {"logprobs": True, "top_logprobs": top} if chat else {"logprobs": top}
    if not asked.skip_special_tokens:
        body["skip_special_tokens"] = False
    if facts.manner.token_ids:
        body["return_token_ids"] = True
    elif facts.kind is ServerKind.LLAMA and not chat:
        # Its ids are in what it tells for debugging.
        body |= {"return_tokens": True, "verbose": True}
    return body


def _text(prompt: TextPrompt | TokenPrompt, facts: Facts) -> dict[str, Any]:
    if isinstance(prompt, TextPrompt):
        return {"prompt": prompt.text} | ({"suffix": prompt.suffix} if prompt.suffix else {})
    if not facts.manner.takes_ids:
        raise unsupported("token_ids", f"The model's server ({facts.kind.value}) takes no token ids.")
    return {"prompt": list(prompt.ids)}


def _chat(chat: pb.ChatInput, facts: Facts, notes: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": messages(chat, facts.manner.reasoning)}
    can = facts.chat_parameters
    choice = tool_choice(chat)
    if chat.tools and not (choice == "none" and not {"tools", "tool_choice"} <= can.keys()):
        if "tools" not in can:
            raise not_supported("chat.tools", facts)
        body["tools"] = tools(chat)
    if choice is not None and "tools" in body:
        if "tool_choice" in can:
            body["tool_choice"] = choice
        elif choice != "auto":
            raise not_supported("chat.tool_choice", facts)
    if chat.HasField("parallel_tool_calls") and "tools" in body:
        if "parallel_tool_calls" in can:
            body["parallel_tool_calls"] = chat.parallel_tool_calls
        elif not chat.parallel_tool_calls:
            raise not_supported("chat.parallel_tool_calls", facts)
    return body | _template(chat.template, facts, notes)


def _template(options: pb.TemplateOptions, facts: Facts, notes: list[str]) -> dict[str, Any]:
    can, body = facts.chat_parameters, dict[str, Any]()
    for name, usual in (("add_generation_prompt", True), ("continue_final_message", False)):
        if not options.HasField(name):  # type: ignore[arg-type] # both are fields of it
            continue
        value = getattr(options, name)
        if name in can:
            body[name] = value
        elif value is not usual:
            raise not_supported(f"chat.template.{name}", facts)
    if options.continue_final_message and "add_generation_prompt" in can:
        body["add_generation_prompt"] = False
    if options.variables.fields:
        given, told = spelled(variables(options.variables), facts)
        body |= given
        notes += told
    return body


def _short(value: float) -> float:
    """A float32 with the fewest digits that give it again."""
    return value if isinstance(value, int) else float(f"{value:.7g}")
