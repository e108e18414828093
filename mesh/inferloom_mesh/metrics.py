"""Numbers for Prometheus: counted cheaply, read when asked for, and added up over processes.

A process makes one :class:`Metrics` and hands it to those that count. prometheus-client writes the text.
The counting is done here, because its own counters take a lock and a few microseconds each, which a token
does not have, and because those of several processes must be one answer. All of it belongs to the event loop.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import add
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
Readings = Iterable[tuple[Labels, float]]

SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.25,
    2.5,
    5,
    10,
    20,
    40,
    80,
    160,
    640,
)
"""Bounds of buckets of durations."""

TOKENS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
"""Bounds of buckets of token counts."""

_OPEN = "application/openmetrics-text"

Merged = Literal["sum", "largest", "smallest"]
"""How the values of several processes are one: added up, where each has a part of it; the largest, where each
sees the same thing; the largest or the smallest, where the one that is nearest to its limit matters."""

_ONE_OF_TWO: dict[Merged, Callable[[float, float], float]] = {"sum": add, "largest": max, "smallest": min}

_OF_PROCESS: dict[str, Merged] = {
    "process_virtual_memory_bytes": "sum",
    "process_resident_memory_bytes": "sum",
    "process_start_time_seconds": "largest",
    "process_open_fds": "largest",
    "process_max_fds": "largest",
}
"""Gauges that prometheus-client reads of a process."""


@dataclass(slots=True)
class Family:
    """One metric as it is now: plain values, fit for JSON."""

    name: str
    """Without ``_total``."""
    kind: Kind
    text: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets but the last."""
    rows: dict[Labels, list[float]] = field(default_factory=dict)
    """By label values: one number, or a histogram's counts of each bucket and then its sum."""
    merged: Merged = "sum"
    """What is counted is always added up."""


class Counter:
    """Counts up, by label values."""

    def __init__(self, family: Family) -> None:
        self._rows = family.rows

    def add(self, *labels: str, by: float = 1) -> None:
        """Count ``by`` more."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0]
        row[0] += by


class Histogram:
    """Distributions, by label values."""

    def __init__(self, family: Family) -> None:
        self._rows = family.rows
        self._bounds = family.bounds
        self._size = len(family.bounds) + 2

    def add(self, value: float, *labels: str) -> None:
        """Count a value."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0] * self._size
        row[bisect_left(self._bounds, value)] += 1
        row[-1] += value


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._families: list[Family] = []
        self._read: list[tuple[Family, Callable[[], Readings]]] = []
        self._read_histograms: list[tuple[Family, Callable[[], Sequence[float]]]] = []
        self._process = ProcessCollector(registry=None)

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A counter; ``name`` is without ``_total``."""
        return Counter(self._add(Family(name, "counter", text, labels)))

    def histogram(self, name: str, text: str, bounds: Sequence[float], *labels: str) -> Histogram:
        """A histogram with buckets up to each of ``bounds``, and one above."""
        return Histogram(self._add(Family(name, "histogram", text, labels, tuple(bounds))))

    def gauge(
        self, name: str, text: str, labels: Labels, read: Callable[[], Readings], *, merged: Merged
    ) -> None:
        """How something is: ``read`` when the metrics are; ``merged`` says what it is over several
        processes."""
        self._read.append((self._add(Family(name, "gauge", text, labels, merged=merged)), read))

    def read_counter(self, name: str, text: str, labels: Labels, read: Callable[[], Readings]) -> None:
        """A counter that somebody else counts: ``read`` when the metrics are."""
        self._read.append((self._add(Family(name, "counter", text, labels)), read))

    def read_histogram(
        self, name: str, text: str, bounds: Sequence[float], read: Callable[[], Sequence[float]]
    ) -> None:
        """A histogram that somebody else keeps: ``read`` gives the count of each bucket, then the sum."""
        self._read_histograms.append((self._add(Family(name, "histogram", text, (), tuple(bounds))), read))

    def snapshot(self) -> list[Family]:
        """All of them as they are now."""
        for family, read in self._read:
            family.rows = {labels: [value] for labels, value in read()}
        for family, read_all in self._read_histograms:
            family.rows = {(): list(read_all())}
        return [*self._families, *map(_of_process, self._process.collect())]

    def _add(self, family: Family) -> Family:
        self._families.append(family)
        return family


def added(snapshots: Iterable[Iterable[Family]]) -> list[Family]:
    """The metrics of several processes as one, each merged as it says."""
    total: dict[str, Family] = {}
    for snapshot in snapshots:
        for one in snapshot:
            to = total.get(one.name)
            if to is None:
                to = total[one.name] = replace(one, rows={})
            for labels, row in one.rows.items():
                before = to.rows.get(labels)
                if before is None:
                    to.rows[labels] = list(row)
                else:
                    to.rows[labels] = list(map(_ONE_OF_TWO[one.merged], before, row))
    return list(total.values())


def lasting(snapshot: Iterable[Family]) -> list[Family]:
    """What of a process's metrics outlives it: what it counted, and not how it was."""
    return [
        family for family in snapshot if family.kind != "gauge" and not family.name.startswith("process_")
    ]


def rendered(snapshot: Iterable[Family], accept: str = "", also: Iterable[Metric] = ()) -> tuple[bytes, str]:
    """The text, and its media type: as ``accept`` (an HTTP header) asks for, Prometheus' own by default.

    Args:
        snapshot: The metrics.
        accept: The header.
        also: Others' metrics, passed on where ``snapshot`` has none of their name.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(snapshot, also))
    encode, media_type = choose_encoder(accept)
    if media_type.startswith(_OPEN):
        # Its escaping takes the colons out of the names of samples. All names and labels here need none.
        text: bytes = openmetrics.generate_latest(registry, escaping=openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call] # it has no types
        return text, media_type
    return encode(registry), media_type


class _Given(Collector):
    def __init__(self, families: Iterable[Family], also: Iterable[Metric]) -> None:
        self._all = list(families)
        self._also = also

    def collect(self) -> Iterator[Metric]:
        for family in self._all:
            yield _metric(family)
        ours = {family.name for family in self._all}
        for metric in self._also:
            if metric.name not in ours:
                yield metric


def of_library(prefix: str) -> Iterator[Metric]:
    """What a library has counted into prometheus-client's registry of the process, by its metrics' names."""
    for metric in REGISTRY.collect():
        if metric.name.startswith(prefix):
            yield metric


def _metric(family: Family) -> Metric:
    name, text, labels = family.name, family.text, family.labels
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, row in family.rows.items():
            bounds = (*(repr(float(bound)) for bound in family.bounds), "+Inf")
            buckets = list(zip(bounds, accumulate(row[:-1]), strict=True))
            histogram.add_metric(values, buckets, row[-1])
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, text, labels=labels)
    for values, row in family.rows.items():
        metric.add_metric(values, row[0])
    return metric


def _of_process(metric: Metric) -> Family:
    kind: Kind = "counter" if metric.type == "counter" else "gauge"
    rows: dict[Labels, list[float]] = {(): [metric.samples[0].value]}
    merged = _OF_PROCESS.get(metric.name, "sum")
    return Family(metric.name, kind, metric.documentation, rows=rows, merged=merged)
