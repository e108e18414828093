"""The figures of several sides over some rounds: their medians and ratios. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from peers.sides import Figures

Rounds = Mapping[str, Sequence[Figures]]
"""The rounds of each side by its name. The first side is the one that the others are compared with."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A value over rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The median and the range of at least one value."""
        return cls(median(values), min(values), max(values))


def less_is_better(column: str) -> bool:
    """Whether a smaller value of a column is the better one: times are, rates are not."""
    return column.endswith((", ms", ", s", ", times", ", µs"))


def is_rated(column: str) -> bool:
    """Whether a column is better one way or the other, and no fact beside it, which stands in parentheses."""
    return not column.startswith("(")


def figure(rounds: Sequence[Figures], column: str) -> Spread | None:
    """One side's column; None if it has no such column."""
    values = [one[column] for one in rounds if column in one]
    return Spread.of(values) if values else None


def ratio(own: Sequence[Figures], other: Sequence[Figures], column: str) -> Spread | None:
    """One side's median over another's, and the range of the ratios of each round.

    The sides of one round were measured one after the other, so that a drift of the machine is in both.
    None: there is nothing to divide by.
    """
    above, below = figure(own, column), figure(other, column)
    if above is None or below is None or not all(one.get(column) for one in other):
        return None
    each = [mine[column] / theirs[column] for mine, theirs in zip(own, other, strict=True)]
    return Spread(above.middle / below.middle, min(each), max(each))
