"""The medians of several sides, and their ratios. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median

from rich.table import Table

from peers.sides import Figures

Runs = Mapping[str, Sequence[Figures]]
"""The runs of each side by its name. The first side is the one that the others are compared with."""


def less_is_better(column: str) -> bool:
    """Whether a smaller value of a column is the better one: times are, rates are not."""
    return column.endswith((", ms", ", s", ", times"))


def is_rated(column: str) -> bool:
    """Whether a column is better one way or the other, and no fact beside it, which stands in parentheses."""
    return not column.startswith("(")


def medians(runs: Sequence[Figures]) -> Figures:
    """The median of each column over the runs of one side."""
    columns = runs[0] if runs else ()
    return {column: median(run[column] for run in runs) for column in columns}


def comparison(runs: Runs) -> Table:
    """A row for each column of figures: every side's median and range, and the first side's ratio to each."""
    own, *others = runs
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("MEDIAN (LEAST–MOST)")
    for side in runs:
        made.add_column(side, justify="right")
    for side in others:
        made.add_column(f"÷ {side}", justify="right", style="bold")
    middle = {side: medians(of_side) for side, of_side in runs.items()}
    for column in middle[own]:
        row = [f"{column} {_arrow(column)}"]
        row += [_cell([run[column] for run in of_side if column in run]) for of_side in runs.values()]
        if is_rated(column):
            row += [_ratio(middle[own][column], middle[side].get(column)) for side in others]
        made.add_row(*row)
    return made


def _arrow(column: str) -> str:
    return "" if not is_rated(column) else "↓" if less_is_better(column) else "↑"


def _ratio(own: float, other: float | None) -> str:
    return "–" if not other else f"{own / other:.2f} ×"


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    least, most = min(values), max(values)
    around = f" ({_number(least)}–{_number(most)})" if len(values) > 1 else ""
    return _number(median(values)) + around


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
