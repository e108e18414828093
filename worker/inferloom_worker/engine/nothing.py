"""Requests for no tokens, of which an engine reads the prompt at most."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from inferloom_worker.engine.events import EndReason, Event, TokensEvent
from inferloom_worker.engine.protocol import Engine, Generation, GenerationStats
from inferloom_worker.engine.request import GenerationRequest


def submit(engine: Engine, request: GenerationRequest) -> Generation:
    """Queue a request; one for nothing has ended already. Raises InferloomError, as the engine does."""
    if request.max_tokens:
        return engine.submit(request)
    if request.prompt_logprobs is None or len(request.prompt) == 1:
        return NothingGenerated(request.n)
    return PromptRead(engine.submit(replace(request, n=1)), request.n)


class NothingGenerated:
    """The answer to a request for no tokens: ``n`` choices that are as long as was asked for."""

    def __init__(self, n: int) -> None:
        self.stats = GenerationStats()
        self.over = False
        self._n = n

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        yield self.take(self._n)

    def follow(self, news: Callable[[], object]) -> bool:
        return True

    def take(self, most: int) -> Sequence[Event]:
        self.over = True
        return _ends(range(self._n))

    @property
    def waiting(self) -> bool:
        return not self.over

    def abort(self, choice: int | None = None) -> None:
        """Do nothing: it has ended."""


class PromptRead:
    """A prompt that is read once, for ``n`` choices of no tokens."""

    def __init__(self, reading: Generation, n: int) -> None:
        self.stats = reading.stats
        self._reading = reading
        self._n = n

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        async for batch in self._reading.events():
            yield self._for_all(batch)

    def follow(self, news: Callable[[], object]) -> bool:
        return self._reading.follow(news)

    def take(self, most: int) -> Sequence[Event]:
        return self._for_all(self._reading.take(most))

    def _for_all(self, batch: Sequence[Event]) -> Sequence[Event]:
        """The events of one choice, with the ends of the others."""
        ended = any(isinstance(event, TokensEvent) for event in batch)
        return [*batch, *_ends(range(1, self._n))] if ended else batch

    @property
    def waiting(self) -> bool:
        return self._reading.waiting

    @property
    def over(self) -> bool:
        return self._reading.over

    def abort(self, choice: int | None = None) -> None:
        if choice is None:
            self._reading.abort()


def _ends(choices: range) -> list[Event]:
    return [TokensEvent(choice, 0, (), end=EndReason.LENGTH) for choice in choices]
