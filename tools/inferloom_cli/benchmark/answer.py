"""What came back for one request, and when."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from inferloom_cli.benchmark.events import EventSplitter

_MOST_ERROR_CHARACTERS = 200


@dataclass(slots=True)
class Answer:
    """One request's answer; times are seconds of ``time.perf_counter``."""

    began: float
    """When the request was sent."""
    ended: float = 0.0
    """When the last byte came, or the failure."""
    arrivals: "array[float]" = field(default_factory=lambda: array("d"))
    """When each piece of text came."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that the server took from its prefix cache, as far as it says."""
    output_tokens: int = 0
    """As the server counts them; pieces of text where it does not."""
    accepted_draft_tokens: int = 0
    """Of those, tokens that the server had foreseen, as far as it says."""
    inputs: int = 0
    """Texts that were embedded."""
    failure: str | None = None

    def read_usage(self, usage: Mapping[str, Any]) -> None:
        """Take over the server's own counts."""
        self.prompt_tokens = usage.get("prompt_tokens") or 0
        self.output_tokens = usage.get("completion_tokens") or 0
        generated = usage.get("completion_tokens_details") or {}
        self.accepted_draft_tokens = generated.get("accepted_prediction_tokens") or 0
        details = usage.get("prompt_tokens_details") or {}
        self.cached_tokens = details.get("cached_tokens") or 0


class StreamReader:
    """Reads a streamed chat or text completion into an answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._splitter = EventSplitter()
        self._done = False

    def feed(self, piece: bytes, now: float) -> None:
        """Read a piece of the body that came at ``now``.

        Raises:
            ValueError: An event is not JSON.
        """
        for payload in self._splitter.feed(piece):
            if payload == b"[DONE]":
                self._done = True
                continue
            event = orjson.loads(payload)
            if event.get("error"):  # some servers send null
                self._answer.failure = self._answer.failure or error_text(payload)
                continue
            if usage := event.get("usage"):
                self._answer.read_usage(usage)
            for choice in event.get("choices") or ():
                if _has_text(choice):
                    self._answer.arrivals.append(now)

    def end(self) -> None:
        """The body has ended."""
        answer = self._answer
        answer.output_tokens = answer.output_tokens or len(answer.arrivals)
        if not self._done:
            answer.failure = answer.failure or "the stream ended without [DONE]"


class BodyReader:
    """Reads an answer that comes whole: embeddings."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes, now: float) -> None:
        """Read a piece of the body that came at ``now``."""
        self._pieces.append(piece)

    def end(self) -> None:
        """The body has ended.

        Raises:
            ValueError: It is not JSON.
        """
        body = orjson.loads(b"".join(self._pieces))
        self._answer.inputs = len(body.get("data") or ())
        self._answer.read_usage(body.get("usage") or {})
        if not self._answer.inputs:
            self._answer.failure = "the answer has no embeddings"


def _has_text(choice: Mapping[str, Any]) -> bool:
    delta = choice.get("delta")
    if delta is None:
        return bool(choice.get("text"))
    return bool(delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls"))


def error_text(body: bytes) -> str:
    """The message in an OpenAI-shaped error, or the beginning of whatever else it is."""
    try:
        message = orjson.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    return str(message)[:_MOST_ERROR_CHARACTERS]
