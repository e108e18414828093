"""The bars that Inferloom is to reach, and whether it did. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peers.compare import Rounds, figure, less_is_better, ratio

_BATCHES = ("llama-q4_0", "vllm")
_CHAT = ("llama-q4_0", "llama-q4_1", "llama-q8_0", "vllm")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bound on a column: at least, or at most where less is better."""

    column: str
    bound: float
    peers: tuple[str, ...] = ()
    """The bound is on the ratio to the best of these that was measured. Empty: on the figure itself."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar, and how far Inferloom came."""

    bar: Bar
    against: str | None
    """The peer that it was compared with, if it is with one."""
    value: float
    met: bool

    def __str__(self) -> str:
        unit = " ×" if self.against else ""
        sign = "≤" if less_is_better(self.bar.column) else "≥"
        reached = f"{self.value:.2f}{unit} {self.against or ''}".rstrip()
        outcome = "met" if self.met else "MISSED"
        return f"{outcome}: {self.bar.column}: {reached} (bar: {sign} {self.bar.bound:g}{unit})"


BARS: dict[str, tuple[Bar, ...]] = {
    "chat": (
        Bar("tok/s at 1", 1.0, ("llama-q4_0",)),
        Bar("tok/s at 1", 1.5, ("llama-q4_1",)),
        Bar("TTFT p50 at 1, ms", 1.0, ("llama-q4_0",)),
        Bar("TTFT p50 at 1, ms", 1.0, ("llama-q4_1",)),
        Bar("tok/s at 8", 1.2, _BATCHES),
        Bar("tok/s at 32", 1.3, _BATCHES),
        Bar("tok/s at 64", 1.3, _BATCHES),
        Bar("start to first text, s", 10.0),
    ),
    "prefix": (Bar("tok/s", 1.3, _CHAT), Bar("TTFT p50, ms", 0.7, _CHAT)),
    "prefill": (Bar("prompt tok/s", 1.0, _CHAT),),
    "stall": (Bar("p99 during / alone, times", 2.0),),
    "embed": (
        Bar("inputs/s, 1 × 1", 1.2, ("vllm",)),
        Bar("inputs/s, 32 × 1", 1.5, ("vllm",)),
        Bar("inputs/s, 4 × 32", 1.4, ("vllm",)),
    ),
    "proxy": tuple(
        Bar(f"{kind} connections: {column}", bound, peers)
        for kind, router, first in (("new", 0.5, 1.5), ("kept", 2.0, 1.0))
        for column, bound, peers in (
            ("req/s, 1 token", 35.0, ("litellm",)),
            ("req/s, 1 token", router, ("sglang-router",)),
            ("tok/s, 128 tokens", 35.0, ("litellm",)),
            ("tok/s, 128 tokens", 0.5, ("sglang-router",)),
            ("added TTFT p50 at 1, ms", first, ()),
        )
    ),
}
"""The bars of each work."""


def judge(bars: Sequence[Bar], rounds: Rounds) -> Iterator[Verdict]:
    """Whether the first side reached each bar. A bar none of whose peers was measured has no verdict."""
    own = next(iter(rounds.values()))
    for bar in bars:
        against, value = None, figure(own, bar.column)
        if bar.peers:
            against = _best(bar, rounds)
            value = ratio(own, rounds[against], bar.column) if against else None
        if value is not None:
            lower = less_is_better(bar.column)
            met = value.middle <= bar.bound if lower else value.middle >= bar.bound
            yield Verdict(bar, against, value.middle, met)


def _best(bar: Bar, rounds: Rounds) -> str | None:
    found = {
        peer: spread.middle
        for peer in bar.peers
        if peer in rounds and (spread := figure(rounds[peer], bar.column)) is not None
    }
    pick = min if less_is_better(bar.column) else max
    return pick(found, key=lambda peer: found[peer], default=None)
