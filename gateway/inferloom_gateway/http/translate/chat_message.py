"""The assistant's turn as OpenAI has it: whole, and piece by piece."""

from collections.abc import Sequence
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.translate.logprobs import chat_logprobs
from inferloom_gateway.http.translate.outcome import Choice, why_cut


def chat_choice(index: int, choice: Choice, asked: ChatCompletionRequest, *, old: bool) -> dict[str, object]:
    """One choice. In the ``old`` shape, of before there were tools, its call is ``function_call``."""
    calls = [call for _, call in sorted(choice.tool_calls.items())]
    text = "".join(choice.text)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    message["refusal"] = None
    if choice.reasoning:
        message |= reasoned("".join(choice.reasoning))
    if calls and old:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        message["tool_calls"] = [_call(call) for call in calls]
    as_ids = bool(asked.return_tokens_as_token_ids)
    shown: dict[str, object] = {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(choice.logprobs, as_ids=as_ids) if choice.logprobs else None,
        "finish_reason": finish_reason(choice.finish_reason, old=old),
        **why_cut(late=choice.late),
    }
    if asked.return_token_ids:
        shown["token_ids"] = choice.token_ids
    return shown


def chat_delta(event: pb.Delta, logprobs: Sequence[pb.TokenLogprob], *, old: bool) -> dict[str, object]:
    """More of a choice; empty for what shows nothing."""
    delta: dict[str, object] = {}
    if event.reasoning:
        delta |= reasoned(event.reasoning)
    if event.text or logprobs:
        delta["content"] = event.text
    if event.tool_calls and old:
        delta["function_call"] = _old_part(event.tool_calls)
    elif event.tool_calls:
        delta["tool_calls"] = [_part(part) for part in event.tool_calls]
    return delta


def finish_reason(reason: str | None, *, old: bool) -> str | None:
    """Why a choice ended."""
    return "function_call" if old and reason == "tool_calls" else reason


def reasoned(text: str) -> dict[str, object]:
    """Reasoning, under both names that clients read."""
    return {"reasoning_content": text, "reasoning": text}


def _call(call: pb.ToolCall) -> dict[str, object]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _part(part: pb.ToolCallDelta) -> dict[str, object]:
    kind, key = ("custom", "input") if part.custom else ("function", "arguments")
    call: dict[str, object] = {"index": part.index}
    if part.id:
        call |= {"id": part.id, "type": kind}
    call[kind] = ({"name": part.name} if part.name else {}) | {key: part.arguments}
    return call


def _old_part(parts: Sequence[pb.ToolCallDelta]) -> dict[str, str]:
    """Of the first call: there are no others where there may be only one."""
    name = "".join(part.name for part in parts)
    return ({"name": name} if name else {}) | {"arguments": "".join(part.arguments for part in parts)}
