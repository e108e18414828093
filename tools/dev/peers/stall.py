"""A long prompt arrives while streams decode: how long does it hold them up?"""

import asyncio

import orjson

from inferloom_cli.benchmark.answer import Answer
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import PATHS, Load
from inferloom_cli.benchmark.loop import Caller, run
from inferloom_cli.benchmark.summary import milliseconds
from peers.sides import Running

_STREAMS = 16
_TOKENS = 256
_LONG_PROMPT = 4000
_UNDISTURBED_S = 0.5
"""How long the streams run before the long prompt is sent."""


async def stall(running: Running, first: int) -> dict[str, float]:
    """The inter-token p99 of 16 streams alone, with the arrival, and while the long prompt is computed.

    The last is the honest one: a single pause of all streams is too rare to show in the p99 of long streams.
    """
    endpoint = Endpoint.parse(running.url)
    load = Load(running.model, clients=_STREAMS, requests=_STREAMS, tokens=_TOKENS, ignore_eos=True)
    alone, _ = await run(endpoint, _numbered(load, first))
    arrival = asyncio.create_task(_arrive(endpoint, running.model, first))
    disturbed, _ = await run(endpoint, _numbered(load, first + 100))
    long = await arrival
    for answer in (*alone, *disturbed, long):
        if answer.failure is not None:
            raise RuntimeError(f"a request failed: {answer.failure}")
    during = gaps_within(disturbed, long.began, long.arrivals[0])
    before = p99(alone)
    return {
        "ITL p99 alone, ms": before,
        "ITL p99 with the arrival, ms": p99(disturbed),
        "ITL p99 during its prefill, ms": p99_of(during),
        "times the p99 alone": -p99_of(during) / before,
        "TTFT of the long prompt, ms": (long.arrivals[0] - long.began) * 1e3,
    }
