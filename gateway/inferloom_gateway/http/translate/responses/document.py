"""The response object, as it stands at any moment of a response's life."""

from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.options import tier
from inferloom_gateway.http.translate.outcome import why_cut
from inferloom_gateway.http.translate.responses import tools
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_mesh.errors import InferloomError, Reason

Document = dict[str, Any]
"""A response as JSON."""

_GIVEN_BACK = ("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "user", "max_tool_calls")
"""Shown where the request has them."""

_CALLERS = "invalid_prompt"
_ERROR_CODES = {Reason.RATE_LIMIT_EXCEEDED: "rate_limit_exceeded", Reason.SERVER_OVERLOADED: "server_error"}


def begun(body: ResponseRequest, response_id: str, created: int, *, store: bool) -> Document:
    """A response that nothing is known of but its request."""
    effort = None if body.reasoning is None else body.reasoning.effort
    text: dict[str, Any] = {"format": _format(body)}
    if body.text is not None and body.text.verbosity is not None:
        text["verbosity"] = body.text.verbosity
    document: Document = {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "queued" if body.background else "in_progress",
        "background": bool(body.background),
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "model": body.model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": effort, "summary": None},
        "service_tier": body.service_tier or "auto",
        "store": store,
        "temperature": body.temperature,
        "text": text,
        "tool_choice": tools.repeated_choice(body.tool_choice),
        "tools": tools.repeated(body.tools),
        "top_logprobs": body.top_logprobs or 0,
        "top_p": body.top_p,
        "truncation": body.truncation or "disabled",
    }
    return document | {name: value for name in _GIVEN_BACK if (value := getattr(body, name)) is not None}


def accepted(document: Document, started: pb.Started) -> None:
    """Note that a worker has begun, and what tokens are drawn with."""
    document |= {"status": "in_progress", "service_tier": tier(started)}
    for name in ("temperature", "top_p"):
        if document[name] is None and started.sampling.HasField(name):
            document[name] = round(getattr(started.sampling, name), 6)  # float32 of a short decimal number


def cut_off(reason: int) -> dict[str, str] | None:
    """What is told of an answer that was cut off, by its ``FinishReason``; None: it is whole.

    OpenAI has no word for a deadline, and clients take a response without one of its reasons for whole. So
    the reason is that of a length, and the deadline is told beside it, as in choices of a chat.
    """
    late = reason == pb.FINISH_REASON_DEADLINE
    if not late and reason != pb.FINISH_REASON_LENGTH:
        return None
    return {"reason": "max_output_tokens", **why_cut(late=late)}


def ended(
    document: Document, output: list[Item], usage: pb.Usage, now: int, cut: dict[str, str] | None
) -> None:
    """Note that the model came to an end; ``cut``: why it might write no more."""
    document |= {"output": output, "usage": _usage(usage)}
    if cut is not None:
        document |= {"status": "incomplete", "incomplete_details": cut}
    else:
        document |= {"status": "completed", "completed_at": now}


def failed(document: Document, output: list[Item], error: InferloomError) -> None:
    """Note that it could not go on."""
    code = _ERROR_CODES.get(error.reason, _CALLERS if error.row.http < 500 else "server_error")
    document |= {"status": "failed", "output": output, "error": {"code": code, "message": error.message}}


def cancelled(document: Document) -> None:
    """Note that it was given up."""
    document["status"] = "cancelled"


def _format(body: ResponseRequest) -> dict[str, Any]:
    wanted = None if body.text is None else body.text.format
    if wanted is None or wanted.type == "text":
        return {"type": "text"}
    if wanted.type == "json_object":
        return {"type": "json_object"}
    shown = {"type": "json_schema", "name": wanted.name or "response", "schema": wanted.schema_}
    if wanted.description is not None:
        shown["description"] = wanted.description
    return shown | {"strict": wanted.strict is not False}


def _usage(usage: pb.Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_prompt_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
