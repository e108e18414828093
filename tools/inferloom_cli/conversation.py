"""A conversation with a model: what was said, and one streamed answer at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import grpc

from inferloom.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_USER,
    ChatInput,
    ChatMessage,
    Completed,
    ContentPart,
    GenerateRequest,
    Model,
    Role,
    SamplingOptions,
    StoppingOptions,
)
from inferloom_cli.chat_settings import with_defaults
from inferloom_mesh.durations import seconds

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model should answer, as far as the person says."""

    system: str | None
    sampling: SamplingOptions
    stopping: StoppingOptions

    def on(self, card: Model) -> Manner:
        """The manner to ask a model in: drawn sanely where neither the person nor its card says how."""
        return replace(self, sampling=with_defaults(self.sampling, card.sampling_defaults))

    def instructed(self, system: str | None) -> Manner:
        """The same with other standing instructions."""
        return replace(self, system=system)


@dataclass(slots=True)
class Conversation:
    """Turns with one model. A turn counts once its answer is complete or was stopped by hand."""

    stub: InferenceServiceAsyncStub
    model: str
    manner: Manner
    turns: list[ChatMessage] = field(default_factory=list)
    completed: Completed | None = None
    """What the last complete answer took."""

    async def ask(self, message: str) -> AsyncGenerator[str, None]:
        """Yield the answer's text as it comes. Closing the iterator stops the answer and keeps its beginning.

        Raises:
            grpc.aio.AioRpcError: The call failed; the conversation is as it was before.
        """
        question = _turn(ROLE_USER, message)
        standing = [_turn(ROLE_SYSTEM, self.manner.system)] if self.manner.system else []
        request = GenerateRequest(
            model=self.model,
            chat=ChatInput(messages=[*standing, *self.turns, question]),
            sampling=self.manner.sampling,
            stopping=self.manner.stopping,
        )
        said: list[str] = []
        self.completed = None
        call = self.stub.Generate(request)
        try:
            async for event in call:
                if event.HasField("completed"):
                    self.completed = event.completed
                if event.HasField("delta") and event.delta.text:
                    said.append(event.delta.text)
                    yield event.delta.text
        except grpc.aio.AioRpcError:
            said.clear()
            raise
        finally:
            call.cancel()  # without effect on a call that is over
            if said:
                self.turns += [question, _turn(ROLE_ASSISTANT, "".join(said))]

    def rate(self) -> str | None:
        """How fast the last answer came, in words; None where it was not completed."""
        if self.completed is None:
            return None
        tokens = self.completed.usage.completion_tokens
        decoding_s = seconds(self.completed.timings.decode)
        # The first token ends the prefill; decoding makes the others.
        speed = f", {(tokens - 1) / decoding_s:.1f} tok/s" if tokens > 1 and decoding_s > 0 else ""
        return f"({tokens} token{'s' if tokens != 1 else ''}{speed})"

    def forget(self) -> None:
        """Start over."""
        self.turns.clear()


def _turn(role: Role.ValueType, text: str) -> ChatMessage:
    return ChatMessage(role=role, parts=[ContentPart(text=text)])
