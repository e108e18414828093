"""Requests for no tokens, which need no engine."""

from collections.abc import AsyncIterator, Sequence

from inferloom_worker.engine.protocol import (
    EndReason,
    Engine,
    Event,
    Generation,
    GenerationRequest,
    GenerationStats,
    TokensEvent,
)


def submit(engine: Engine, request: GenerationRequest) -> Generation:
    """Queue a request; one for no tokens has ended already. Raises InferloomError, as the engine does."""
    return engine.submit(request) if request.max_tokens else NothingGenerated(request.n)


class NothingGenerated:
    """The answer to a request for no tokens: ``n`` choices that are as long as was asked for."""

    def __init__(self, n: int) -> None:
        self.stats = GenerationStats()
        self._n = n

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        yield [TokensEvent(choice, 0, (), end=EndReason.LENGTH) for choice in range(self._n)]

    def abort(self, choice: int | None = None) -> None:
        """Do nothing: it has ended."""
