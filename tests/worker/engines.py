"""Driving an engine in tests."""

import asyncio
from collections.abc import Sequence

from inferloom_worker.engine.protocol import Engine, GenerationRequest, Sampling, TokenLogprobs, TokensEvent


def request(prompt: Sequence[int], count: int, **fields: object) -> GenerationRequest:
    """A greedy request for ``count`` tokens, with whatever differs."""
    settings: dict[str, object] = {"request_id": "test", "sampling": Sampling(temperature=0.0), **fields}
    return GenerationRequest(prompt=list(prompt), max_tokens=count, **settings)  # type: ignore[arg-type]


async def generate(engine: Engine, asked: GenerationRequest) -> list[list[int]]:
    """Run a request to its end; the tokens of each choice."""
    choices: list[list[int]] = [[] for _ in range(asked.n)]
    async for batch in engine.submit(asked).events():
        for event in batch:
            if isinstance(event, TokensEvent):
                assert len(choices[event.choice]) == event.index
                choices[event.choice].extend(event.token_ids)
    return choices


async def generate_all(engine: Engine, requests: Sequence[GenerationRequest]) -> list[list[int]]:
    """Run single-choice requests side by side."""
    return [choices[0] for choices in await asyncio.gather(*(generate(engine, r) for r in requests))]


async def logprobs(engine: Engine, asked: GenerationRequest) -> list[TokenLogprobs]:
    """Run a single-choice request to its end; the log-probabilities of its tokens."""
    reported: list[TokenLogprobs] = []
    async for batch in engine.submit(asked).events():
        for event in batch:
            if isinstance(event, TokensEvent):
                reported.extend(event.logprobs or ())
    return reported
