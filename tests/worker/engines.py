"""Driving an engine in tests."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from inferloom_worker.engine.events import EndReason, TokenLogprobs, TokensEvent
from inferloom_worker.engine.protocol import Engine
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling


@dataclass
class Generated:
    """What one choice came to."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    end: EndReason | None = None
    accepted: int = 0
    rejected: int = 0

    def add(self, event: TokensEvent) -> None:
        """Take in an event, which follows what there is and accounts for its tokens."""
        assert (self.end, event.index) == (None, len(self.tokens))
        assert event.accepted <= len(event.token_ids)
        self.tokens += event.token_ids
        self.logprobs += event.logprobs or ()
        self.end = event.end
        self.accepted += event.accepted
        self.rejected += event.rejected


def request(prompt: Sequence[int], count: int, **fields: object) -> GenerationRequest:
    """A greedy request for ``count`` tokens, with whatever differs."""
    settings: dict[str, object] = {"request_id": "test", "sampling": Sampling(temperature=0.0), **fields}
    return GenerationRequest(prompt=list(prompt), max_tokens=count, **settings)  # type: ignore[arg-type]


async def collect(engine: Engine, asked: GenerationRequest) -> list[Generated]:
    """Run a request to its end."""
    choices = [Generated() for _ in range(asked.n)]
    async for batch in engine.submit(asked).events():
        for event in batch:
            if isinstance(event, TokensEvent):
                choices[event.choice].add(event)
    return choices


async def collect_all(engine: Engine, requests: Sequence[GenerationRequest]) -> list[list[Generated]]:
    """Run requests side by side, each to its end."""
    return await asyncio.gather(*(collect(engine, asked) for asked in requests))


async def generate(engine: Engine, asked: GenerationRequest) -> list[list[int]]:
    """Run a request to its end; the tokens of each choice."""
    return [choice.tokens for choice in await collect(engine, asked)]


async def generate_all(engine: Engine, requests: Sequence[GenerationRequest]) -> list[list[int]]:
    """Run single-choice requests side by side."""
    return [choices[0] for choices in await asyncio.gather(*(generate(engine, r) for r in requests))]


async def logprobs(engine: Engine, asked: GenerationRequest) -> list[TokenLogprobs]:
    """Run a single-choice request to its end; the log-probabilities of its tokens."""
    (choice,) = await collect(engine, asked)
    return choice.logprobs
