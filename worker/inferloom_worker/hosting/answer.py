"""A model answers: from a checked request to the contract's events. The seam that every model stands behind.

What speaks tokens stands on an :class:`~inferloom_worker.engine.protocol.Engine`, and :class:`TokenAnswer`
makes its answer: prompt, submission, output pipeline. A backend that has only text implements :class:`Answer`
alone, and its card says that it can do no more.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.events import PromptEvent
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.output.completion import Completion, Item, PlainDelta, response_of

MOST_EVENTS = 4096
"""Events of an engine that are read at once where nobody has read for a while."""

MOST_ENTRIES = 4096
"""Log-probabilities that are told at once there."""


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
    tell_prompt: bool = False
    """Whether Started is to tell the prompt's tokens, where they are not the input itself."""


class Answer(Protocol):
    """The answer to one request. Used on the event loop that asked for it."""

    def events(self) -> AsyncIterator[Sequence[pb.GenerateResponse]]:
        """Whatever is new, oldest first, in the contract's grammar: Started without a worker's id, then the
        rest. To be read once. One that was aborted ends without Completed.

        Raises:
            InferloomError: It cannot go on.
        """
        ...

    def follow(self, news: Callable[[], object]) -> "Followed | None":
        """The same, to be read whenever ``news`` was called, so that who reads many answers needs no task for
        each. None: this one can only be waited for. Its first events are there at once."""
        ...

    def abort(self) -> None:
        """End it, and free what it holds. Aborting what has ended does nothing."""
        ...


class Followed(Protocol):
    """An answer that tells when there is something to read."""

    def read(self) -> Sequence[Item]:
        """Whatever is new, as :meth:`Answer.events` has it, with what goes on of a choice in one Delta;
        nothing if nothing is. Raises as that does."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether there is something to read."""
        ...

    @property
    def over(self) -> bool:
        """Whether the last event was read, or it was aborted."""
        ...


class TokenAnswer:
    """An :class:`Answer` that an engine generates.

    Args:
        generation: The request, as submitted.
        completion: Makes events of its tokens.
        opening: The events before the first token.
        entries: Log-probabilities for each token.
    """

    def __init__(
        self,
        generation: Generation,
        completion: Completion,
        opening: Sequence[pb.GenerateResponse],
        entries: int = 0,
    ) -> None:
        self._generation = generation
        self._completion = completion
        self._opening = opening
        self._most = max(1, min(MOST_EVENTS, MOST_ENTRIES // max(1, entries)))
        self._begun = self._aborted = self._complete = False

    async def events(self) -> AsyncIterator[Sequence[pb.GenerateResponse]]:
        yield [*self._opening, *self._completion.opening()]
        async for batch in self._generation.events():
            if any(isinstance(event, PromptEvent) for event in batch):
                for response in self._completion.take(batch):  # each is made when the one before is sent
                    yield [response]
            else:
                yield [
                    response_of(item) if isinstance(item, PlainDelta) else item
                    for item in self._completion.read(batch)
                ]
        if not self._aborted:
            yield [self._completion.completed()]

    def follow(self, news: Callable[[], object]) -> "TokenAnswer | None":
        # What is told of a prompt may be much, and is made piece by piece.
        if self._completion.reports_prompt or not self._generation.follow(news):
            return None
        return self

    def read(self) -> Sequence[Item]:
        items = self._completion.read(self._generation.take(self._most))
        if not self._begun:
            self._begun = True
            items = [*self._opening, *self._completion.opening(), *items]
        if self._generation.over and not (self._aborted or self._complete):
            self._complete = True
            items = [*items, self._completion.completed()]
        return items

    @property
    def waiting(self) -> bool:
        return not self.over and (not self._begun or self._generation.waiting)

    @property
    def over(self) -> bool:
        return self._aborted or self._complete

    def abort(self) -> None:
        self._aborted = True
        self._generation.abort()
