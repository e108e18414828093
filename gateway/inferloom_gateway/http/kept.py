"""Answers that are kept: a chat completion with ``store``, streamed or not."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from inferloom.v1.inference_pb2 import GenerateResponse
from inferloom_gateway.calls.call_group import GenerateStream
from inferloom_gateway.http.schema.chat import ChatCompletionRequest, Message
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_gateway.storage.documents import Documents
from inferloom_gateway.storage.rows import Row

Keep = Callable[[bytes], Awaitable[None]]
"""Keeps the body of an answer; raises InferloomError if there is no room for it."""


@dataclass(frozen=True, slots=True)
class ChatKeeper:
    """Where the answer to one request will be kept, under which name."""

    documents: Documents
    tenant: str
    body: ChatCompletionRequest
    answer_id: str
    age_s: float

    async def keep(self, answer: bytes) -> None:
        """Keep the answer's body, and the messages that led to it."""
        now = time.time()
        metadata = self.body.metadata
        row = Row(
            id=self.answer_id,
            tenant=self.tenant,
            created=now,
            expires=now + self.age_s,
            model=self.body.model,
            labels=metadata or {},
            document=orjson.dumps({**orjson.loads(answer), "metadata": metadata}),
            extra=orjson.dumps([_message(each) for each in self.body.messages]),
        )
        await self.documents.put(row)


def _message(message: Message) -> dict[str, Any]:
    """A message of a request, as it is listed later; several parts stay parts."""
    said = [part for part in message.content or () if part.type != "thinking"]
    parts = [{"type": "text", "text": part.text or part.refusal or ""} for part in said]
    given = message.model_dump(exclude={"content", "role", "refusal"}, exclude_none=True)
    if thoughts := message.thoughts():
        given.setdefault("reasoning_content", thoughts)
    return {
        "role": message.role,
        "content": parts[0]["text"] if len(parts) == 1 else None,
        "content_parts": parts if len(parts) > 1 else None,
        "refusal": message.refusal,
        **given,
    }


class KeptStream:
    """The events of a generation, which is kept before its last event is given on.

    Args:
        stream: The events.
        outcome: They are folded into it.
        done: Keeps it.
    """

    def __init__(self, stream: GenerateStream, outcome: Outcome, done: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._outcome = outcome
        self._done = done

    async def read(self) -> GenerateResponse | None:
        """The next event; None at the end. Raises InferloomError."""
        event = await self._stream.read()
        if event is not None:
            self._outcome.add(event)
            if event.HasField("completed"):
                await self._done()
        return event
