"""How far a streamed answer has come, and what another worker would have to be asked for. Pure."""

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from inferloom.v1.inference_pb2 import EmbedCompleted, EmbedRequest, EmbedResponse, Usage
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

    @property
    def place(self) -> int | None:
        """How many tokens or vectors the caller has seen; None: nothing that ties the rest to them."""

    @property
    def ends(self) -> Sequence[int]:
        """Why what has ended of it did, as the contract numbers that."""

    def rest(self, *, resumes: bool = True) -> RequestT | None:
        """What to ask another worker for, of which some may be such as go on from committed tokens; None if
        the caller has seen too much for that."""

    def end(self) -> EventT | None:
        """The last event, if nothing but that is missing and it can be told."""

    def waiting(self) -> EventT | None:
        """What shows the caller that the request lives while no worker has it; None: nothing does."""

    def restated(self, error: InferloomError) -> InferloomError:
        """An error of the present worker in terms of the whole request."""


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
        """Never: links give columns to generations only."""
        raise AssertionError("an embedding has no tokens")

    @property
    def place(self) -> int | None:
        """None: any worker that computes alike gives the vectors that are missing."""
        return None

    @property
    def ends(self) -> Sequence[int]:
        """Nothing: vectors end by themselves."""
        return ()

    def rest(self, *, resumes: bool = True) -> EmbedRequest | None:
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

    def waiting(self) -> EmbedResponse | None:
        """Nothing: an embedding has no heartbeats."""
        return None

    def restated(self, error: InferloomError) -> InferloomError:
        """The error with the number that an input has in the whole request."""
        if not self._offset:
            return error

        def shift(match: re.Match[str]) -> str:
            return f"inputs[{int(match[1]) + self._offset}]"

        return error.restated(lambda path: _INPUT.sub(shift, path))
