"""Which workers are much slower than their peers. Pure; time is given in."""

from collections.abc import Iterable, Sequence
from statistics import median

from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.pace import Mean

LESS_FROM = 2.5
"""So many times slower than its peers, a worker gets as much less."""

OUT_FROM = 5.0
"""So many times slower, it is ejected if it stays so; one that is ten times slower is measured as less while
its waits for the network and its prompts are the same as everybody's."""

PATIENCE_S = 5.0
"""How long it may stay so."""

INTERVAL_S = 1.0
"""How often to look, at most."""

LEAST_GAP_S, LEAST_READ_S = 0.005, 0.00002
"""Times from token to token, and of a prompt's token, are compared as if they were no shorter, because they
are noise there."""

DOUBT = 2.0
"""So many times slower may reading prompts seem than it is: others are read meanwhile."""


def look(members: Iterable[Member], now: float, since: float) -> list[Member]:
    """Compare workers, which sets their slowness; return those whose ejection is due.

    A worker is held to the median of the other workers of the same model, by the time of reading prompts and
    by that from token to token, the worse of both, where there are enough measurements of it and of another.
    ``since`` is when they were compared last.
    """
    seen = list(members)
    by_model: dict[str, list[Member]] = {}
    for member in seen:
        for model, pace in member.paces.items():
            pace.look(now)
            by_model.setdefault(model, []).append(member)
    ratios: dict[Member, float] = {}
    for model, peers in by_model.items():
        if len(peers) < 2:
            continue
        reads = _ratios([each.paces[model].first for each in peers], LEAST_READ_S, now)
        gaps = _ratios([each.paces[model].gap for each in peers], LEAST_GAP_S, now)
        for member, read, gap in zip(peers, reads, gaps, strict=True):
            ratios[member] = max(read / DOUBT, gap, ratios.get(member, 1.0))
    due = []
    for member in seen:
        ratio, health = ratios.get(member, 1.0), member.health
        health.slowness = ratio if ratio >= LESS_FROM else 1.0
        health.slow_s = health.slow_s + now - since if ratio >= OUT_FROM else 0.0
        if health.slow_s >= PATIENCE_S and not health.ejected(now):
            due.append(member)
    return due


def _ratios(means: Sequence[Mean], least: float, now: float) -> list[float]:
    """How many times slower each is than the median of the others that can be told; 1 where it cannot."""
    read = [None if (value := mean.read(now)) is None else max(value, least) for mean in means]
    known = sorted(value for value in read if value is not None)
    if len(known) < 2:
        return [1.0] * len(read)
    middle = median(known)
    few = len(known) <= 8  # with few, one of them moves the median that it is held to
    return [
        1.0 if value is None else value / (median(_without(known, value)) if few else middle)
        for value in read
    ]


def _without(values: list[float], value: float) -> list[float]:
    at = values.index(value)
    return values[:at] + values[at + 1 :]
