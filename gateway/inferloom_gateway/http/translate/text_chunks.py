"""The events of a generation as the chunks of a streamed text completion."""

from collections.abc import Sequence
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.json_line import json_line
from inferloom_gateway.http.sse import DONE, HOLE, around, frame, framed
from inferloom_gateway.http.translate.fingerprint import fingerprint
from inferloom_gateway.http.translate.logprobs import TextLogprobs
from inferloom_gateway.http.translate.outcome import FINISH_REASONS, why_cut
from inferloom_gateway.http.translate.reports import Reports, Running
from inferloom_gateway.http.translate.usage import completion_usage
from inferloom_mesh.errors import InferloomError


class TextChunks:
    """Encodes one generation as ``text_completion`` frames.

    Args:
        answer_id: The answer's id.
        model: The model's id.
        created: When it was asked for, in seconds since 1970.
        first: Number of its first choice.
        logprobs: Makes the log-probabilities of each choice.
        reports: What is told besides.
        echo: Whether the first text of each choice is that of its prompt.
    """

    def __init__(
        self,
        answer_id: str,
        model: str,
        created: int,
        first: int,
        logprobs: Sequence[TextLogprobs],
        reports: Reports,
        *,
        echo: bool,
    ) -> None:
        self._first = first
        self._reports = reports
        self._plain = reports.plain
        self._head: dict[str, object] = {
            "id": answer_id,
            "object": "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": None,
        }
        self._frames: dict[int, tuple[bytes, bytes]] = {}
        self._logprobs = logprobs
        self._usage = Running()
        self._prompt = pb.Prompt()
        self._untold = set(range(len(logprobs))) if reports.token_ids else set()
        """Choices whose prompt's ids are not told yet."""
        self._echoing = set(range(len(logprobs))) if echo else set()
        """Choices that have not repeated their prompt yet."""

    def started(self, event: pb.Started) -> bytes:
        """A text has no role, so it begins with nothing."""
        self._head["system_fingerprint"] = fingerprint(event)
        self._usage.begin(event.prompt_tokens)
        return b""

    def prompt(self, event: pb.Prompt) -> bytes:
        """Tokens of the prompt, which are told with the first text."""
        self._prompt.MergeFrom(event)
        return b""

    def delta(self, event: pb.Delta) -> bytes:
        """Give a choice more text; tokens whose text is not final yet show nothing, unless ids are told."""
        index = event.choice
        self._usage.add(len(event.token_ids))
        if index in self._echoing:
            self._echoing.discard(index)
            logprobs = None
            if self._prompt.logprobs:
                logprobs = self._logprobs[index].of_prompt(self._prompt.logprobs, event.text)
            return frame(self._chunk(index, event.text, logprobs=logprobs, ids=event.token_ids))
        if event.logprobs:
            logprobs = self._logprobs[index].of(event.logprobs)
            if not (event.text or logprobs["tokens"] or self._reports.token_ids):
                return b""
            return frame(self._chunk(index, event.text, logprobs=logprobs, ids=event.token_ids))
        if not self._plain:
            if not event.text and not (self._reports.token_ids and event.token_ids):
                return b""
            return frame(self._chunk(index, event.text, ids=event.token_ids))
        if not event.text:
            return b""
        before, after = self._frames.get(index) or self._frames.setdefault(
            index, around(self._chunk(index, HOLE))
        )
        return before + json_line(event.text) + after

    def tokens(self, tokens: Tokens) -> bytes:
        """The same, of one that is nothing but tokens and text."""
        if self._echoing or not self._plain or tokens.choice not in self._frames:
            return self.delta(tokens.event().delta)
        if not tokens.text:
            return b""
        before, after = self._frames[tokens.choice]
        return before + json_line(tokens.text) + after

    def finished(self, event: pb.Finished) -> bytes:
        """Say why a choice ended."""
        late = event.reason == pb.FINISH_REASON_DEADLINE
        return frame(self._chunk(event.choice, "", FINISH_REASONS.get(event.reason), late=late))

    def end(self, usage: pb.Usage) -> bytes:
        """End the stream, with a chunk of usage where that was asked for."""
        if not self._reports.usage:
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
        logprobs: dict[str, list[Any]] | None = None,
        ids: Sequence[int] = (),
        *,
        late: bool = False,
    ) -> dict[str, object]:
        choice: dict[str, object] = {
            "index": self._first + index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
            **why_cut(late=late),
        }
        if self._reports.token_ids:
            choice["token_ids"] = list(ids)
        if index in self._untold:
            self._untold.discard(index)
            choice["prompt_token_ids"] = list(self._prompt.token_ids)
        chunk: dict[str, object] = {**self._head, "choices": [choice]}
        if self._reports.usage:
            chunk["usage"] = self._usage.usage() if self._reports.running_usage else None
        return chunk
