"""The numbers of one load. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Self

from inferloom_cli.benchmark.answer import Answer


@dataclass(frozen=True, slots=True)
class Summary:
    """What one load showed, over the requests that did not fail; None where there was nothing to measure.

    The inter-token latency is the time between two pieces of text of one stream as they came, so pieces that
    came together are 0 apart; a server that sends several tokens in a piece has fewer and larger gaps.
    """

    clients: int
    requests: int
    """In all, with those that failed."""
    failed: int
    first_error: str | None
    seconds: float
    """From the first request to the last answer."""
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    accepted_draft_tokens: int
    """Of those, tokens that the server had foreseen, where it says so."""
    inputs: int
    tokens_per_s: float
    requests_per_s: float
    inputs_per_s: float
    ttft_p50_ms: float | None
    """From sending a request to its first text."""
    ttft_p99_ms: float | None
    itl_p50_ms: float | None
    itl_p99_ms: float | None
    latency_p50_ms: float | None
    """From sending a request to its last byte."""
    latency_p99_ms: float | None

    @classmethod
    def of(cls, clients: int, answers: Sequence[Answer], seconds: float) -> Self:
        """Sum up what ``clients`` clients were answered within ``seconds``."""
        good = [answer for answer in answers if answer.failure is None]
        errors = [answer.failure for answer in answers if answer.failure is not None]
        first = sorted(answer.arrivals[0] - answer.began for answer in good if answer.arrivals)
        gaps = sorted(gap for answer in good for gap in gaps_of(answer.arrivals))
        whole = sorted(answer.ended - answer.began for answer in good)
        tokens, inputs = sum(a.output_tokens for a in good), sum(a.inputs for a in good)
        return cls(
            clients=clients,
            requests=len(answers),
            failed=len(errors),
            first_error=errors[0] if errors else None,
            seconds=seconds,
            prompt_tokens=sum(a.prompt_tokens for a in good),
            cached_tokens=sum(a.cached_tokens for a in good),
            output_tokens=tokens,
            accepted_draft_tokens=sum(a.accepted_draft_tokens for a in good),
            inputs=inputs,
            tokens_per_s=tokens / seconds,
            requests_per_s=len(good) / seconds,
            inputs_per_s=inputs / seconds,
            ttft_p50_ms=milliseconds(first, 0.50),
            ttft_p99_ms=milliseconds(first, 0.99),
            itl_p50_ms=milliseconds(gaps, 0.50),
            itl_p99_ms=milliseconds(gaps, 0.99),
            latency_p50_ms=milliseconds(whole, 0.50),
            latency_p99_ms=milliseconds(whole, 0.99),
        )


def gaps_of(arrivals: Sequence[float]) -> Iterable[float]:
    """The times between neighbours."""
    return (later - earlier for earlier, later in pairwise(arrivals))


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of them do not exceed (nearest rank); None of nothing."""
    return ordered[max(ceil(share * len(ordered)), 1) - 1] if ordered else None


def milliseconds(ordered: Sequence[float], share: float) -> float | None:
    """:func:`percentile` of seconds, in milliseconds."""
    value = percentile(ordered, share)
    return None if value is None else value * 1e3
