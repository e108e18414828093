"""POST /v1/chat/completions: the body to a plan, and the events of a generation to chunks or one body."""

from collections.abc import Sequence
from typing import Any

import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.schema.chat import ChatCompletionRequest, ResponseFormat
from inferloom_gateway.http.sse import DONE, HOLE, around, frame, framed
from inferloom_gateway.http.translate import fields, options
from inferloom_gateway.http.translate.conversation import conversation
from inferloom_gateway.http.translate.logprobs import chat_logprobs
from inferloom_gateway.http.translate.outcome import FINISH_REASONS, Choice, Outcome
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_gateway.http.translate.usage import completion_usage
from inferloom_mesh.errors import InferloomError, invalid


def plan(body: ChatCompletionRequest, request_id: str, created: int, answer_id: str = "") -> Plan:
    """What a chat request becomes; its answer is called ``answer_id``, or after the request.

    Raises:
        InferloomError: The contract cannot express it.
    """
    n = body.n or 1
    answer_id = answer_id or f"chatcmpl-{request_id}"
    usage_wanted = options.include_usage(body)
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens

    def rename(path: str) -> str:
        older = path == "stopping.max_tokens" and body.max_completion_tokens is None
        return "max_tokens" if older else fields.of("chat")(path)

    encoder = ChatChunks(answer_id, body.model, created, n, usage_wanted)
    return Plan(
        parts=[Part(_request(body, request_id, limit), encoder, rename)],
        stream=bool(body.stream),
        body=lambda outcomes: _body(outcomes[0], answer_id, body.model, created),
    )


def _request(body: ChatCompletionRequest, request_id: str, limit: int | None) -> pb.GenerateRequest:
    if body.top_logprobs and not body.logprobs:
        raise invalid("top_logprobs", "top_logprobs is only allowed when logprobs is true.")
    output = None
    if body.logprobs:
        output = pb.OutputOptions(logprobs=True, top_logprobs=body.top_logprobs)
    return pb.GenerateRequest(
        model=body.model,
        request_id=request_id,
        chat=conversation(
            body.messages,
            body.tools,
            body.tool_choice,
            add_generation_prompt=body.add_generation_prompt,
            continue_final_message=body.continue_final_message,
            chat_template_kwargs=body.chat_template_kwargs,
        ),
        sampling=options.sampling(body),
        stopping=options.stopping(body, limit),
        constraint=_constraint(body.response_format),
        output=output,
        priority=body.priority,
        cache_salt=body.cache_salt or "",
    )


def _constraint(wanted: ResponseFormat | None) -> pb.Constraint | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return pb.Constraint(json_object=True)
    if wanted.json_schema is None:
        param = "response_format.json_schema"
        raise invalid(param, f"Missing required parameter: '{param}'.")
    schema = options.json_text("response_format.json_schema.schema", wanted.json_schema.schema_)
    return pb.Constraint(json_schema=schema)


def _body(outcome: Outcome, answer_id: str, model: str, created: int) -> bytes:
    return orjson.dumps(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [_choice(index, choice) for index, choice in enumerate(outcome.choices)],
            "usage": completion_usage(outcome.usage),
            "system_fingerprint": fingerprint(outcome.started),
        }
    )


def _choice(index: int, choice: Choice) -> dict[str, object]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for _, call in sorted(choice.tool_calls.items())
    ]
    text = "".join(choice.text)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    message["refusal"] = None
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(choice.logprobs) if choice.logprobs else None,
        "finish_reason": choice.finish_reason,
    }


def fingerprint(started: pb.Started) -> str | None:
    """OpenAI's name for what answered: the beginning of the compute hash."""
    return f"fp_{started.compute_hash[:12]}" if started.compute_hash else None


class ChatChunks:
    """Encodes one generation as ``chat.completion.chunk`` frames.

    The frame around a piece of text is the same for a choice's whole life, so it is built once.
    """

    def __init__(self, answer_id: str, model: str, created: int, n: int, include_usage: bool) -> None:
        self._n = n
        self._include_usage = include_usage
        self._head: dict[str, object] = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "system_fingerprint": None,
        }
        self._frames: list[tuple[bytes, bytes]] = []

    def started(self, event: pb.Started) -> bytes:
        """Give each choice its role."""
        self._head["system_fingerprint"] = fingerprint(event)
        choices = range(self._n)
        self._frames = [around(self._chunk(index, {"content": HOLE})) for index in choices]
        role: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(frame(self._chunk(index, role)) for index in choices)

    def delta(self, event: pb.Delta) -> bytes:
        """Give a choice more text; tokens whose text is not final yet show nothing."""
        if not (event.logprobs or event.reasoning or event.tool_calls):
            if not event.text:
                return b""
            before, after = self._frames[event.choice]
            return before + orjson.dumps(event.text) + after
        logprobs = [token for token in event.logprobs if not token.no_text]
        delta: dict[str, object] = {}
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.text or logprobs:
            delta["content"] = event.text
        if event.tool_calls:
            delta["tool_calls"] = [_tool_call(part) for part in event.tool_calls]
        return frame(self._chunk(event.choice, delta, logprobs=logprobs)) if delta else b""

    def finished(self, event: pb.Finished) -> bytes:
        """Say why a choice ended."""
        return frame(self._chunk(event.choice, {}, FINISH_REASONS.get(event.reason)))

    def end(self, usage: pb.Usage) -> bytes:
        """End the stream, with a chunk of usage where that was asked for."""
        if not self._include_usage:
            return DONE
        chunk = {**self._head, "choices": [], "usage": completion_usage(usage)}
        return frame(chunk) + DONE

    def failed(self, error: InferloomError) -> bytes:
        """End the stream with an error."""
        return framed(render(error))

    def _chunk(
        self,
        index: int,
        delta: dict[str, object],
        finish_reason: str | None = None,
        logprobs: Sequence[pb.TokenLogprob] = (),
    ) -> dict[str, object]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": chat_logprobs(logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }
        chunk: dict[str, object] = {**self._head, "choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        return chunk


def _tool_call(part: pb.ToolCallDelta) -> dict[str, object]:
    call: dict[str, object] = {"index": part.index}
    if part.id:
        call |= {"id": part.id, "type": "function"}
    call["function"] = (
        {"name": part.name, "arguments": part.arguments} if part.name else {"arguments": part.arguments}
    )
    return call
