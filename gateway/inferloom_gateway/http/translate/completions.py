"""POST /v1/completions: the body to a plan, and the events of its generations to chunks or one body."""

from collections.abc import Sequence

import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.schema.prompts import Prompt
from inferloom_gateway.http.sse import DONE, HOLE, around, frame, framed
from inferloom_gateway.http.translate import fields, options
from inferloom_gateway.http.translate.logprobs import TextLogprobs
from inferloom_gateway.http.translate.outcome import FINISH_REASONS, Choice, Outcome
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_gateway.http.translate.usage import completion_usage, total
from inferloom_mesh.errors import InferloomError, invalid, unsupported

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for this endpoint."""

MAX_CHOICES = 128
"""Most choices of one request, over all of its prompts."""


def plan(body: CompletionRequest, request_id: str, created: int) -> Plan:
    """What a completion request becomes: one generation per prompt, their choices numbered through."""
    n = body.n or 1
    count = len(body.prompt)
    if n * count > MAX_CHOICES:
        raise invalid(
            "n", f"n times the number of prompts is {n * count}; at most {MAX_CHOICES} are allowed."
        )
    if body.echo and body.logprobs is not None:
        raise unsupported("logprobs", "logprobs together with echo is not supported.")
    answer_id = f"cmpl-{request_id}"
    usage_wanted = options.include_usage(body)
    names = [request_id] if count == 1 else [f"{request_id[:120]}.{i}" for i in range(count)]
    bases = [0 if body.echo else _characters(prompt) for prompt in body.prompt]
    parts = [
        Part(
            _request(body, prompt, names[i]),
            TextChunks(answer_id, body.model, created, i * n, [bases[i]] * n, usage_wanted),
            fields.of_completion("prompt" if count == 1 else f"prompt[{i}]"),
        )
        for i, prompt in enumerate(body.prompt)
    ]
    return Plan(
        parts=parts,
        stream=bool(body.stream),
        body=lambda outcomes: _body(outcomes, bases, answer_id, body.model, created),
    )


def _request(body: CompletionRequest, prompt: Prompt, name: str) -> pb.GenerateRequest:
    output = None
    if body.echo or body.logprobs is not None:
        logprobs = body.logprobs is not None
        output = pb.OutputOptions(
            echo=body.echo or None, logprobs=logprobs or None, top_logprobs=body.logprobs
        )
    request = pb.GenerateRequest(
        model=body.model,
        request_id=name,
        sampling=options.sampling(body),
        stopping=options.stopping(body, DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens),
        output=output,
        priority=body.priority,
        cache_salt=body.cache_salt or "",
    )
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.ids.extend(prompt)
    return request


def _characters(prompt: Prompt) -> int:
    """Where the completion of a prompt begins; 0 for token ids, whose text is not known here."""
    return len(prompt) if isinstance(prompt, str) else 0


def _body(
    outcomes: Sequence[Outcome], bases: Sequence[int], answer_id: str, model: str, created: int
) -> bytes:
    choices = [
        (choice, base) for outcome, base in zip(outcomes, bases, strict=True) for choice in outcome.choices
    ]
    return orjson.dumps(
        {
            "id": answer_id,
            "object": "text_completion",
            "created": created,
            "model": model,
            "choices": [_choice(index, *choice) for index, choice in enumerate(choices)],
            "usage": completion_usage(total(outcome.usage for outcome in outcomes)),
        }
    )


def _choice(index: int, choice: Choice, base: int) -> dict[str, object]:
    return {
        "index": index,
        "text": "".join(choice.text),
        "logprobs": TextLogprobs(base).of(choice.logprobs) if choice.logprobs else None,
        "finish_reason": choice.finish_reason,
    }


class TextChunks:
    """Encodes one generation as ``text_completion`` frames.

    Its choices are numbered from ``first``, and begin at the characters ``bases``, counted from the prompt's
    beginning.
    """

    def __init__(
        self,
        answer_id: str,
        model: str,
        created: int,
        first: int,
        bases: Sequence[int],
        include_usage: bool,
    ) -> None:
        self._first = first
        self._include_usage = include_usage
        self._head = {"id": answer_id, "object": "text_completion", "created": created, "model": model}
        self._frames: dict[int, tuple[bytes, bytes]] = {}
        self._logprobs = [TextLogprobs(base) for base in bases]

    def started(self, event: pb.Started) -> bytes:
        """A text has no role, so it begins with nothing."""
        return b""

    def delta(self, event: pb.Delta) -> bytes:
        """Give a choice more text; tokens whose text is not final yet show nothing."""
        index = event.choice
        if event.logprobs:
            logprobs = self._logprobs[index].of(event.logprobs)
            if not event.text and not logprobs["tokens"]:
                return b""
            return frame(self._chunk(index, event.text, logprobs=logprobs))
        if not event.text:
            return b""
        before, after = self._frames.get(index) or self._frames.setdefault(
            index, around(self._chunk(index, HOLE))
        )
        return before + orjson.dumps(event.text) + after

    def finished(self, event: pb.Finished) -> bytes:
        """Say why a choice ended."""
        return frame(self._chunk(event.choice, "", FINISH_REASONS.get(event.reason)))

    def end(self, usage: pb.Usage) -> bytes:
        """End the stream, with a chunk of usage where that was asked for."""
        if not self._include_usage:
            return DONE
        return frame({**self._head, "choices": [], "usage": completion_usage(usage)}) + DONE

    def failed(self, error: InferloomError) -> bytes:
        """End the stream with an error."""
        return framed(render(error))

    def _chunk(
        self,
        index: int,
        text: str,
        finish_reason: str | None = None,
        logprobs: dict[str, object] | None = None,
    ) -> dict[str, object]:
        choice = {
            "index": self._first + index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        chunk: dict[str, object] = {**self._head, "choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        return chunk
