"""POST /v1/chat/completions: the body to a plan, and the events of a generation to chunks or one body."""

from collections.abc import Callable, Mapping, Sequence

import orjson
from google.protobuf.struct_pb2 import Struct

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.json_line import json_line
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.sse import DONE, HOLE, around, frame, framed
from inferloom_gateway.http.translate import constraints, fields, options, tools
from inferloom_gateway.http.translate.chat_message import chat_choice, chat_delta, finish_reason
from inferloom_gateway.http.translate.conversation import conversation
from inferloom_gateway.http.translate.fingerprint import fingerprint
from inferloom_gateway.http.translate.logprobs import chat_logprobs, prompt_logprobs
from inferloom_gateway.http.translate.outcome import FINISH_REASONS, Outcome, why_cut
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_gateway.http.translate.reports import Reports, Running
from inferloom_gateway.http.translate.usage import completion_usage
from inferloom_mesh.errors import InferloomError, invalid

_ROLE: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
_ROLE_JSON = orjson.dumps(_ROLE)
_TEXT = b'{"content":'


def plan(body: ChatCompletionRequest, request_id: str, created: int, answer_id: str = "") -> Plan:
    """What a chat request becomes; its answer is called ``answer_id``, or after the request.

    Raises:
        InferloomError: The contract cannot express it.
    """
    n = body.n or 1
    answer_id = answer_id or f"chatcmpl-{request_id}"
    reports = options.reports(body)
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens

    old = _is_old(body)

    def rename(path: str) -> str:
        if path == "stopping.max_tokens" and body.max_completion_tokens is None:
            return "max_tokens"
        if old and path.startswith("chat.tool_choice"):
            return "function_call"
        name = constraints.named(fields.of("chat"), body)(path)
        return name.replace("tools[", "functions[", 1).replace(".function", "", 1) if old else name

    encoder = ChatChunks(
        answer_id,
        body.model,
        created,
        n,
        reports,
        tier=lambda started: options.service_tier(body, started),
        old=old,
    )
    return Plan(
        parts=[Part(_request(body, request_id, limit, old=old), encoder, rename)],
        stream=bool(body.stream),
        body=lambda outcomes: _body(outcomes[0], answer_id, body, created, old=old),
    )


def _request(
    body: ChatCompletionRequest, request_id: str, limit: int | None, *, old: bool
) -> pb.GenerateRequest:
    if body.top_logprobs and not body.logprobs:
        raise invalid("top_logprobs", "top_logprobs is only allowed when logprobs is true.")
    return pb.GenerateRequest(
        model=body.model,
        request_id=request_id,
        chat=_chat(body, old=old),
        sampling=options.sampling(body),
        stopping=options.stopping(body, limit),
        constraint=constraints.constraint(body),
        output=options.output(body, (body.top_logprobs or 0) if body.logprobs else None),
        prediction="".join(part.text for part in body.prediction.content) if body.prediction else "",
        **options.common(body),
    )


def _is_old(body: ChatCompletionRequest) -> bool:
    """Whether it speaks of functions, as before there were tools.

    Raises:
        InferloomError: It speaks of both.
    """
    for name in ("functions", "function_call"):
        if getattr(body, name) and body.tools:
            raise invalid(name, f"'{name}' and 'tools' exclude each other.")
    return bool(body.functions or body.function_call)


def _chat(body: ChatCompletionRequest, *, old: bool) -> pb.ChatInput:
    # Of the time of functions, an answer had one call.
    parallel = False if old else body.parallel_tool_calls
    return conversation(
        body.messages,
        tools.old_functions(body.functions) if old else tools.tools(body.tools),
        tools.old_choice(body.function_call) if old else tools.tool_choice(body.tool_choice),
        parallel_tool_calls=parallel,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        variables=_variables(body),
    )


def _variables(body: ChatCompletionRequest) -> Struct | None:
    """The chat template's variables: the body's own, and parameters that some templates read."""
    own = {"reasoning_effort": body.reasoning_effort, "verbosity": body.verbosity}
    given = {name: value for name, value in own.items() if value is not None}
    return options.struct("chat_template_kwargs", {**given, **(body.chat_template_kwargs or {})})


def _body(
    outcome: Outcome, answer_id: str, asked: ChatCompletionRequest, created: int, *, old: bool
) -> bytes:
    answer: dict[str, object] = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": asked.model,
        "choices": [
            chat_choice(index, choice, asked, old=old) for index, choice in enumerate(outcome.choices)
        ],
        "usage": completion_usage(outcome.usage),
        "system_fingerprint": fingerprint(outcome.started),
    }
    answer |= options.service_tier(asked, outcome.started)
    if asked.prompt_logprobs is not None:
        answer["prompt_logprobs"] = prompt_logprobs(outcome.prompt_logprobs, asked.prompt_logprobs)
    if asked.return_token_ids:
        answer["prompt_token_ids"] = outcome.prompt_ids
    return orjson.dumps(answer)


class ChatChunks:
    """Encodes one generation as ``chat.completion.chunk`` frames.

    The frame around a piece of text is the same for a choice's whole life, so it is built once.
    """

    def __init__(
        self,
        answer_id: str,
        model: str,
        created: int,
        n: int,
        reports: Reports,
        *,
        tier: Callable[[pb.Started], Mapping[str, object]] = lambda _: {},
        old: bool = False,
    ) -> None:
        self._old = old
        self._n = n
        self._reports = reports
        self._plain = reports.plain
        self._tier = tier
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
        self._head |= self._tier(event)
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
        if self._reports.token_ids:
            chunks = [self._chunk(index, _ROLE) for index in range(self._n)]
            return b"".join(frame({**chunk, "prompt_token_ids": self._prompt_ids}) for chunk in chunks)
        # What is around a text has an object of that text alone around it.
        frames = self._frames
        return b"".join(before.removesuffix(_TEXT) + _ROLE_JSON + after[1:] for before, after in frames)

    def delta(self, event: pb.Delta) -> bytes:
        """Give a choice more text; tokens whose text is not final yet show nothing, unless ids are told."""
        if not self._plain:
            self._usage.add(len(event.token_ids))
            return self._begin() + self._reported(event)
        if not (event.logprobs or event.reasoning or event.tool_calls):
            if not event.text:
                return b""
            before, after = self._frames[event.choice]
            return before + json_line(event.text) + after
        return self._reported(event)

    def tokens(self, tokens: Tokens) -> bytes:
        """The same, of one that is nothing but tokens and text."""
        if not self._plain:
            return self.delta(tokens.event().delta)
        if not tokens.text:
            return b""
        before, after = self._frames[tokens.choice]
        return before + json_line(tokens.text) + after

    def _reported(self, event: pb.Delta) -> bytes:
        logprobs = [token for token in event.logprobs if not token.no_text]
        delta = chat_delta(event, logprobs, old=self._old)
        if not delta and not (self._reports.token_ids and event.token_ids):
            return b""
        return frame(self._chunk(event.choice, delta, logprobs=logprobs, ids=event.token_ids))

    def finished(self, event: pb.Finished) -> bytes:
        """Say why a choice ended."""
        reason = finish_reason(FINISH_REASONS.get(event.reason), old=self._old)
        late = event.reason == pb.FINISH_REASON_DEADLINE
        return self._begin() + frame(self._chunk(event.choice, {}, reason, late=late))

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
        *,
        late: bool = False,
    ) -> dict[str, object]:
        as_ids = self._reports.tokens_as_ids
        choice: dict[str, object] = {
            "index": index,
            "delta": delta,
            "logprobs": chat_logprobs(logprobs, as_ids=as_ids) if logprobs else None,
            "finish_reason": finish_reason,
            **why_cut(late=late),
        }
        if self._reports.token_ids:
            choice["token_ids"] = list(ids)
        chunk: dict[str, object] = {**self._head, "choices": [choice]}
        if self._reports.usage:
            chunk["usage"] = self._usage.usage() if self._reports.running_usage else None
        return chunk
