"""How far a streamed answer has come, and what another worker would have to be asked for. Pure."""

import re
from typing import Protocol, TypeVar

from inferloom.v1.inference_pb2 import (
    EmbedCompleted,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    Usage,
)
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError

RequestT = TypeVar("RequestT", covariant=True)
EventT = TypeVar("EventT")


class Progress(Protocol[RequestT, EventT]):
    """Follows the events of one request over all the workers that give them."""

    size: int
    """Tokens or vectors of the event that was taken last."""
    completed: bool
    """Whether the last event was taken."""

    def take(self, event: EventT) -> EventT | None:
        """Note an event; return what the caller is to see of it."""

    def tokens(self, tokens: Tokens) -> Tokens | None:
        """Note a Delta; return what the caller is to see of it."""

    def rest(self) -> RequestT | None:
        """What to ask another worker for; None if the caller has seen too much for that."""

    def end(self) -> EventT | None:
        """The last event, if nothing but that is missing and it can be told."""

    def restated(self, error: InferloomError) -> InferloomError:
        """An error of the present worker in terms of the whole request."""


class GenerationProgress:
    """A generation begins anew elsewhere until its first Delta or, with ``whole``, until its end.

    It then has the seed that it had before, so that the same tokens come. A second Started is shown to nobody
    but a caller who wants the ``whole`` and starts anew as well.
    """

    def __init__(self, request: GenerateRequest, *, whole: bool = False) -> None:
        self.size = 0
        self.completed = False
        self._request = request
        self._whole = whole
        self._seed: int | None = None
        self._shown = False

    def take(self, event: GenerateResponse) -> GenerateResponse | None:
        """Note an event; return what the caller is to see of it."""
        kind = event.WhichOneof("event")
        if kind == "delta":
            self.size = len(event.delta.token_ids)
            self._shown = True
            return event
        self.size = 0
        if kind == "started":
            again, self._seed = self._seed is not None, event.started.seed
            return None if again and not self._whole else event
        if kind != "heartbeat":
            self._shown = True
            self.completed = kind == "completed"
        return event

    def tokens(self, tokens: Tokens) -> Tokens | None:
        """Note a Delta; return what the caller is to see of it."""
        self.size = len(tokens.ids)
        self._shown = True
        return tokens

    def rest(self) -> GenerateRequest | None:
        """The whole request again, with its seed."""
        if self.completed or (self._shown and not self._whole):
            return None
        self._shown = False
        if self._seed is None:
            return self._request
        again = GenerateRequest()
        again.CopyFrom(self._request)
        again.sampling.seed = self._seed
        return again

    def end(self) -> GenerateResponse | None:
        """Never: what a generation used is only known from its worker."""
        return None

    def restated(self, error: InferloomError) -> InferloomError:
        """The error as it is."""
        return error


_INPUT = re.compile(r"\binputs\[(\d+)\]")


class EmbeddingProgress:
    """An embedding goes on elsewhere with the first input whose vector is missing."""

    def __init__(self, request: EmbedRequest) -> None:
        self.size = 0
        self.completed = False
        self._request = request
        self._tokens: int | None = None
        self._offset = 0
        self._next = 0

    def take(self, event: EmbedResponse) -> EmbedResponse | None:
        """Note an event; return what the caller is to see of it: as if one worker had answered."""
        kind = event.WhichOneof("event")
        self.size = 0
        if kind == "started":
            if self._tokens is not None:
                return None
            self._tokens = event.started.prompt_tokens
        elif kind == "part":
            event.part.first_input += self._offset
            self.size = len(event.part.embeddings)
            self._next = event.part.first_input + self.size
        elif kind == "completed":
            self.completed = True
            if self._offset and self._tokens is not None:
                event.completed.usage.prompt_tokens = self._tokens
        return event

    def tokens(self, tokens: Tokens) -> Tokens | None:
        """Never: an embedding has no tokens."""
        raise NotImplementedError

    def rest(self) -> EmbedRequest | None:
        """The request with the inputs whose vectors are missing."""
        if self.completed:
            return None
        if self._next == 0:
            return self._request
        rest = EmbedRequest()
        rest.CopyFrom(self._request)
        self._offset = self._next
        del rest.inputs[: self._next]
        return rest

    def end(self) -> EmbedResponse | None:
        """What was used, if all vectors are there."""
        if self.completed or self._tokens is None or self._next < len(self._request.inputs):
            return None
        return EmbedResponse(completed=EmbedCompleted(usage=Usage(prompt_tokens=self._tokens)))

    def restated(self, error: InferloomError) -> InferloomError:
        """The error with the number that an input has in the whole request."""
        if not self._offset:
            return error

        def shift(match: re.Match[str]) -> str:
            return f"inputs[{int(match[1]) + self._offset}]"

        return InferloomError(
            error.reason,
            _INPUT.sub(shift, error.message),
            param=None if error.param is None else _INPUT.sub(shift, error.param),
            retry_after=error.retry_after,
        )
