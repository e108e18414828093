"""A model answers: from a checked request to the contract's events. The seam that every model stands behind.

What speaks tokens stands on an :class:`~inferloom_worker.engine.protocol.Engine`, and :class:`TokenAnswer`
makes its answer: prompt, submission, output pipeline. A backend that has only text implements :class:`Answer`
alone, and its card says that it can do no more.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.protocol import Generation, PromptEvent
from inferloom_worker.output.completion import Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a door says of a call beside its request."""

    deadline: float | None = None
    """When the answer has to end, as of ``time.monotonic``, with time left to send it. None: never."""
    tenant: str = ""
    """Who shares this model fairly with the others; see :mod:`inferloom_worker.stepping.fairness`."""
    share: float = 1.0
    """His part, in relation to others'."""
    cache_scope: str = ""
    """Whom cached state is kept within. Empty: everybody."""


class Answer(Protocol):
    """The answer to one request. Used on the event loop that asked for it."""

    def events(self) -> AsyncIterator[Sequence[pb.GenerateResponse]]:
        """Whatever is new, oldest first, in the contract's grammar: Started without a worker's id, then the
        rest. To be read once. One that was aborted ends without Completed.

        Raises:
            InferloomError: It cannot go on.
        """
        ...

    def abort(self) -> None:
        """End it, and free what it holds. Aborting what has ended does nothing."""
        ...


class TokenAnswer:
    """An :class:`Answer` that an engine generates.

    Args:
        generation: The request, as submitted.
        completion: Makes events of its tokens.
        opening: The events before the first token.
    """

    def __init__(
        self, generation: Generation, completion: Completion, opening: Sequence[pb.GenerateResponse]
    ) -> None:
        self._generation = generation
        self._completion = completion
        self._opening = opening
        self._aborted = False

    async def events(self) -> AsyncIterator[Sequence[pb.GenerateResponse]]:
        yield [*self._opening, *self._completion.opening()]
        async for batch in self._generation.events():
            if any(isinstance(event, PromptEvent) for event in batch):
                for response in self._completion.take(batch):  # each is made when the one before is sent
                    yield [response]
            else:
                yield list(self._completion.take(batch))
        if not self._aborted:
            yield [self._completion.completed()]

    def abort(self) -> None:
        self._aborted = True
        self._generation.abort()
