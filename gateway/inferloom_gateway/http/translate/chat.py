"""POST /v1/chat/completions: the body to a plan, and the events of a generation to chunks or one body."""

from collections.abc import Sequence
from typing import Any

import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.sse import DONE, HOLE, around, frame, framed
from inferloom_gateway.http.translate import constraints, fields, options
from inferloom_gateway.http.translate.conversation import conversation
from inferloom_gateway.http.translate.fingerprint import fingerprint
from inferloom_gateway.http.translate.logprobs import chat_logprobs, prompt_logprobs
from inferloom_gateway.http.translate.outcome import FINISH_REASONS, Choice, Outcome
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_gateway.http.translate.reports import Reports, Running
from inferloom_gateway.http.translate.usage import completion_usage
from inferloom_mesh.errors import InferloomError, invalid


def plan(body: ChatCompletionRequest, request_id: str, created: int, answer_id: str = "") -> Plan:
    """What a chat request becomes; its answer is called ``answer_id``, or after the request.

    Raises:
        InferloomError: The contract cannot express it.
    """
    n = body.n or 1
    answer_id = answer_id or f"chatcmpl-{request_id}"
    reports = options.reports(body)
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens

    names = constraints.named(fields.of("chat"), body)

    def rename(path: str) -> str:
        older = path == "stopping.max_tokens" and body.max_completion_tokens is None
        return "max_tokens" if older else names(path)

    encoder = ChatChunks(answer_id, body.model, created, n, reports)
    return Plan(
        parts=[Part(_request(body, request_id, limit), encoder, rename)],
        stream=bool(body.stream),
        body=lambda outcomes: _body(outcomes[0], answer_id, body, created),
    )


def _request(body: ChatCompletionRequest, request_id: str, limit: int | None) -> pb.GenerateRequest:
    if body.top_logprobs and not body.logprobs:
        raise invalid("top_logprobs", "top_logprobs is only allowed when logprobs is true.")
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
        constraint=constraints.constraint(body),
        output=options.output(body, (body.top_logprobs or 0) if body.logprobs else None),
        priority=body.priority,
        cache_salt=body.cache_salt or "",
    )


def _body(outcome: Outcome, answer_id: str, asked: ChatCompletionRequest, created: int) -> bytes:
    answer: dict[str, object] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": asked.model,
        "choices": [_choice(index, choice, asked) for index, choice in enumerate(outcome.choices)],
        "usage": completion_usage(outcome.usage),
        "system_fingerprint": fingerprint(outcome.started),
    }
    if asked.prompt_logprobs is not None:
        answer["prompt_logprobs"] = prompt_logprobs(outcome.prompt_logprobs, asked.prompt_logprobs)
    if asked.return_token_ids:
        answer["prompt_token_ids"] = outcome.prompt_ids
    return orjson.dumps(answer)


def _choice(index: int, choice: Choice, asked: ChatCompletionRequest) -> dict[str, object]:
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
    as_ids = bool(asked.return_tokens_as_token_ids)
    shown: dict[str, object] = {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(choice.logprobs, as_ids=as_ids) if choice.logprobs else None,
        "finish_reason": choice.finish_reason,
    }
    if asked.return_token_ids:
        shown["token_ids"] = choice.token_ids
    return shown


class ChatChunks:
    """Encodes one generation as ``chat.completion.chunk`` frames.

    The frame around a piece of text is the same for a choice's whole life, so it is built once.
    """

    def __init__(self, answer_id: str, model: str, created: int, n: int, reports: Reports) -> None:
        self._n = n
        self._reports = reports
        self._usage = Running()
        self._prompt_ids: list[int] = []
        self._begun = False
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
        self._usage.begin(event.prompt_tokens)
        self._frames = [around(self._chunk(index, {"content": HOLE})) for index in range(self._n)]
        return b"" if self._reports.token_ids else self._begin()  # the prompt's ids come with the roles

    def prompt(self, event: pb.Prompt) -> bytes:
        """Tokens of the prompt."""
        self._prompt_ids += event.token_ids
        return b""

    def _begin(self) -> bytes:
        """Each choice's role, once."""
        if self._begun:
            return b""
        self._begun = True
        role: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
        chunks = [self._chunk(index, role) for index in range(self._n)]
        if self._reports.token_ids:
            chunks = [{**chunk, "prompt_token_ids": self._prompt_ids} for chunk in chunks]
        return b"".join(map(frame, chunks))

    def delta(self, event: pb.Delta) -> bytes:
        """Give a choice more text; tokens whose text is not final yet show nothing, unless ids are told."""
        if not self._reports.plain:
            self._usage.add(len(event.token_ids))
            return self._begin() + self._reported(event)
        if not (event.logprobs or event.reasoning or event.tool_calls):
            if not event.text:
                return b""
            before, after = self._frames[event.choice]
            return before + orjson.dumps(event.text) + after
        return self._reported(event)

    def _reported(self, event: pb.Delta) -> bytes:
        logprobs = [token for token in event.logprobs if not token.no_text]
        delta: dict[str, object] = {}
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.text or logprobs:
            delta["content"] = event.text
        if event.tool_calls:
            delta["tool_calls"] = [_tool_call(part) for part in event.tool_calls]
        if not delta and not (self._reports.token_ids and event.token_ids):
            return b""
        return frame(self._chunk(event.choice, delta, logprobs=logprobs, ids=event.token_ids))

    def finished(self, event: pb.Finished) -> bytes:
        """Say why a choice ended."""
        return self._begin() + frame(self._chunk(event.choice, {}, FINISH_REASONS.get(event.reason)))

    def end(self, usage: pb.Usage) -> bytes:
        """End the stream, with a chunk of usage where that was asked for."""
        if not self._reports.usage:
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
        ids: Sequence[int] = (),
    ) -> dict[str, object]:
        as_ids = self._reports.tokens_as_ids
        choice: dict[str, object] = {
            "index": index,
            "delta": delta,
            "logprobs": chat_logprobs(logprobs, as_ids=as_ids) if logprobs else None,
            "finish_reason": finish_reason,
        }
        if self._reports.token_ids:
            choice["token_ids"] = list(ids)
        chunk: dict[str, object] = {**self._head, "choices": [choice]}
        if self._reports.usage:
            chunk["usage"] = self._usage.usage() if self._reports.running_usage else None
        return chunk


def _tool_call(part: pb.ToolCallDelta) -> dict[str, object]:
    call: dict[str, object] = {"index": part.index}
    if part.id:
        call |= {"id": part.id, "type": "function"}
    call["function"] = (
        {"name": part.name, "arguments": part.arguments} if part.name else {"arguments": part.arguments}
    )
    return call
