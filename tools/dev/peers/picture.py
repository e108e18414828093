"""The rounds of a comparison as a picture: an SVG that needs nothing beside it. Pure."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT = 720, 150, 90
_ROW, _DOT, _GAP = 20, 5, 40
_COLOURS = ("#2563eb", "#9ca3af", "#d97706", "#059669")

Values = Mapping[str, Sequence[float]]
"""What each side came to in each round, by the side's name."""


def picture(title: str, measures: Mapping[str, Values]) -> str:
    """A dot at each median on a logarithmic axis, and a line from the least to the most.

    Dots and no bars: on such an axis a length means nothing.


    Args:
        title: What was measured, where.
        measures: Values above 0 of each measure, by its name with its unit.

    """
    parts = [f'<text x="{_GAP / 2:.0f}" y="26" font-size="14" font-weight="bold">{escape(title)}</text>']
    y = 26 + _GAP
    for name, values in measures.items():
        parts.append(f'<text x="{_GAP / 2:.0f}" y="{y}" font-weight="bold">{escape(name)}</text>')
        parts += _panel(values, y + 8)
        y += 8 + _ROW * len(values) + _GAP
    height = y - _GAP + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="#374151">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _panel(values: Values, top: int) -> list[str]:
    every = [value for rounds in values.values() for value in rounds]
    low = math.floor(math.log10(min(every)))
    high = max(math.ceil(math.log10(max(every))), low + 1)

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(value) - low) / (high - low)

    bottom = top + _ROW * len(values)
    parts = [
        f'<path d="M{x(10.0**power):.1f} {top}V{bottom}" stroke="#e5e7eb"/>'
        f'<text x="{x(10.0**power):.1f}" y="{bottom + 12}" font-size="10" text-anchor="middle">'
        f"{_figure(10.0**power, 1)}</text>"
        for power in range(low, high + 1)
    ]
    for row, (side, rounds) in enumerate(values.items()):
        y = top + _ROW * row + _ROW / 2
        middle = median(rounds)
        colour = _COLOURS[row % len(_COLOURS)]
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(side)}</text>')
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#f3f4f6"/>')
        least, most = x(min(rounds)), x(max(rounds))
        parts.append(f'<path d="M{least:.1f} {y:.1f}H{most:.1f}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{x(middle):.1f}" cy="{y:.1f}" r="{_DOT}" fill="{colour}"/>')
        parts.append(f'<text x="{most + 10:.1f}" y="{y + 4:.1f}">{_figure(middle)}</text>')
    return parts


def _figure(value: float, count: int = 3) -> str:
    """At least so many digits that count."""
    digits = max(0, count - 1 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f}"
