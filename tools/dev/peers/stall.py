"""A long prompt arrives while streams decode: how long does it hold them up?"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import orjson

from inferloom_cli.benchmark.answer import Answer
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import PATHS, Load
from inferloom_cli.benchmark.loop import Caller, run
from inferloom_cli.benchmark.summary import gaps_of, milliseconds
from peers.sides import FailedRequestsError, Figures, Running

_STREAMS = 16
_TOKENS = 384
_LONG_PROMPT = 4000
_UNDISTURBED_S = 0.5
"""How long all streams decode before the long prompt is sent."""


async def stall(running: Running, first: int) -> Figures:
    """The inter-token p99 of 16 streams alone, with the arrival, and while the long prompt is computed.

    The last is the telling one: one pause of all streams is too rare to show in the p99 of long streams.
    """
    endpoint = Endpoint.parse(running.url)
    load = Load(running.model, clients=_STREAMS, requests=_STREAMS, tokens=_TOKENS, ignore_eos=True)
    alone, _ = await run(endpoint, replace(load, first=first))
    begun = max(answer.arrivals[0] - answer.began for answer in _good(alone))
    arrival = asyncio.create_task(_arrive(endpoint, running.model, first, begun + _UNDISTURBED_S))
    disturbed, _ = await run(endpoint, replace(load, first=first + 100))
    long = await arrival
    if long.failure is not None:
        raise FailedRequestsError(long.failure)
    begin, end = long.began, long.ended  # its one token may have no text
    before, during = _p99(alone), _p99(_good(disturbed), begin, end)
    return {
        "ITL p99 alone, ms": before,
        "ITL p99 with the arrival, ms": _p99(disturbed),
        "ITL p99 during its prefill, ms": during,
        "p99 during / alone, times": during / before,
        "answer to the long prompt, ms": (end - begin) * 1e3,
    }


async def _arrive(endpoint: Endpoint, model: str, first: int, delay: float) -> Answer:
    long = Load(model, requests=1, tokens=1, prompt_tokens=_LONG_PROMPT, first=first + 200)
    request = endpoint.request("POST", PATHS[long.api], orjson.dumps(long.body(0)))
    await asyncio.sleep(delay)
    caller = Caller(endpoint, long.timeout)
    try:
        return await caller.ask(request, streamed=True)
    finally:
        caller.close()


def _good(answers: Sequence[Answer]) -> Sequence[Answer]:
    for answer in answers:
        if answer.failure is not None or not answer.arrivals:
            raise FailedRequestsError(answer.failure or "no text came")
    return answers


def _p99(answers: Sequence[Answer], begin: float = 0.0, end: float = float("inf")) -> float:
    """The p99 of the gaps that lie at least partly between two times, in milliseconds."""
    gaps = sorted(
        gap
        for answer in answers
        for gap, at in zip(gaps_of(answer.arrivals), answer.arrivals[1:], strict=True)
        if at > begin and at - gap < end
    )
    value = milliseconds(gaps, 0.99)
    if value is None:
        raise FailedRequestsError("no stream had two pieces of text in that time")
    return value
