"""A comparison as a table and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from peers.bars import Verdict
from peers.compare import Rounds, Spread, figure, is_rated, less_is_better, ratio


def table(rounds: Rounds) -> Table:
    """A row for each column of figures: every side's median and range, and the first side's ratio to each."""
    own, *others = rounds
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("MEDIAN (LEAST–MOST)")
    for side in rounds:
        made.add_column(side, justify="right")
    for side in others:
        made.add_column(f"÷ {side}", justify="right", style="bold")
    for column in rounds[own][0]:
        row = [f"{column} {_arrow(column)}"]
        row += [_cell(figure(of_side, column)) for of_side in rounds.values()]
        if is_rated(column):
            row += [_cell(ratio(rounds[own], rounds[side], column), " ×") for side in others]
        made.add_row(*row)
    return made


def numbers(
    work: str, weights: Mapping[str, str], rounds: Rounds, verdicts: Sequence[Verdict]
) -> dict[str, object]:
    """The same as values that JSON can hold."""
    own, *others = rounds
    columns = rounds[own][0]
    rated = [column for column in columns if is_rated(column)]
    return {
        "work": work,
        "weights": dict(weights),
        "rounds": {side: [dict(one) for one in of_side] for side, of_side in rounds.items()},
        "medians": {
            side: {column: spread.middle for column in columns if (spread := figure(of_side, column))}
            for side, of_side in rounds.items()
        },
        "ratios": {
            side: {
                column: asdict(spread)
                for column in rated
                if (spread := ratio(rounds[own], rounds[side], column))
            }
            for side in others
        },
        "bars": [
            {**asdict(verdict.bar), "against": verdict.against, "value": verdict.value, "met": verdict.met}
            for verdict in verdicts
        ],
    }


def _arrow(column: str) -> str:
    return "" if not is_rated(column) else "↓" if less_is_better(column) else "↑"


def _cell(value: Spread | None, unit: str = "") -> str:
    if value is None:
        return "–"
    around = f" ({_number(value.least)}–{_number(value.most)})" if value.least != value.most else ""
    return f"{_number(value.middle)}{unit}{around}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
