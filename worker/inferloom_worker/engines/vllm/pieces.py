"""What vLLM tells of tokens, as the engine's events have it. Pure; knows its objects by their fields only."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from inferloom_worker.engine.events import TokenLogprobs
from inferloom_worker.engines.vllm.backend import Timing

LEAST_LOGPROB = -9999.0
"""What is reported for a token that cannot come, as in OpenAI's API: JSON has no infinity."""


class Logprob(Protocol):
    """vLLM's own of that name."""

    logprob: float
    rank: int | None


def logprobs(places: Sequence[Mapping[int, Logprob]], tokens: Sequence[int], top: int) -> list[TokenLogprobs]:
    """Those of tokens, each with the ``top`` likeliest of its place."""
    return [_at(place, token, top) for place, token in zip(places, tokens, strict=True)]


def _at(place: Mapping[int, Logprob], token: int, top: int) -> TokenLogprobs:
    own = place[token]
    ranked = sorted((each.rank or 0, other) for other, each in place.items() if (each.rank or 0) <= top)
    likeliest = tuple((other, _said(place[other])) for _, other in ranked)
    return TokenLogprobs(_said(own), likeliest[:top], own.rank or 0)


def _said(one: Logprob) -> float:
    return max(float(one.logprob), LEAST_LOGPROB)


class Stats(Protocol):
    """vLLM's ``RequestStateStats``: readings of one monotonic clock, 0 where something has not been."""

    queued_ts: float
    scheduled_ts: float
    first_token_ts: float
    last_token_ts: float


def timing(stats: Stats | None, cached: int | None) -> Timing:
    """What a sequence has cost so far."""
    if stats is None:
        return Timing(cached or 0)
    return Timing(
        cached or 0,
        _between(stats.queued_ts, stats.scheduled_ts),
        _between(stats.scheduled_ts, stats.first_token_ts),
        _between(stats.first_token_ts, stats.last_token_ts),
    )


def _between(start: float, end: float) -> float:
    return max(0.0, end - start) if start and end else 0.0
