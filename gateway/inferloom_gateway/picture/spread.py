"""How times of late spread, by buckets that can be added up over processes. Pure; time is given in."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inferloom.v1 import gateway_pb2 as pb
from inferloom_mesh.durations import duration, seconds

BUCKETS = 40
"""Bucket i ends at 2^(i/2) ms; the last one never."""

SLOT_S = 10.0
SLOTS = 6
"""What is older than their product, and up to one slot less, is forgotten."""


@dataclass(slots=True)
class _Slot:
    number: int
    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    total_s: float = 0.0
    longest_s: float = 0.0


class RecentTimes:
    """Times of the last minute."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=SLOTS)

    def add(self, value_s: float, now: float) -> None:
        """Count one."""
        number = int(now // SLOT_S)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number))
        slot = self._slots[-1]
        slot.counts[bucket_of(value_s)] += 1
        slot.total_s += value_s
        slot.longest_s = max(slot.longest_s, value_s)

    def read(self, now: float) -> pb.Spread:
        """What there is of them."""
        oldest = int(now // SLOT_S) - SLOTS
        slots = [slot for slot in self._slots if slot.number > oldest]
        if not slots:
            return pb.Spread()
        counts = [sum(column) for column in zip(*(slot.counts for slot in slots), strict=True)]
        return spread(counts, sum(slot.total_s for slot in slots), max(slot.longest_s for slot in slots))


def bucket_of(value_s: float) -> int:
    """The bucket of a time."""
    if value_s <= 1e-3:
        return 0
    return min(BUCKETS - 1, math.ceil(2 * math.log2(value_s * 1e3)))


def spread(counts: Sequence[int], total_s: float, longest_s: float) -> pb.Spread:
    """What the contract says of times that are counted in buckets."""
    count = sum(counts)
    if not count:
        return pb.Spread()
    return pb.Spread(
        count=count,
        mean=duration(total_s / count),
        p50=duration(_quantile(counts, 0.5 * count, longest_s)),
        p95=duration(_quantile(counts, 0.95 * count, longest_s)),
        p99=duration(_quantile(counts, 0.99 * count, longest_s)),
        longest=duration(longest_s),
        buckets=counts,
    )


def together(spreads: Iterable[pb.Spread]) -> pb.Spread:
    """Several as one. What has another number of buckets is left out."""
    some = [each for each in spreads if each.count and len(each.buckets) == BUCKETS]
    if not some:
        return pb.Spread()
    counts = [sum(column) for column in zip(*(each.buckets for each in some), strict=True)]
    total_s = sum(seconds(each.mean) * each.count for each in some)
    return spread(counts, total_s, max(seconds(each.longest) for each in some))


def _quantile(counts: Sequence[int], left: float, longest_s: float) -> float:
    for place, count in enumerate(counts[:-1]):
        left -= count
        if left <= 0:
            return min(2 ** (place / 2) / 1e3, longest_s)
    return longest_s
