"""The numbers of a run as a picture: an SVG that needs nothing beside it. Pure."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from inferloom_cli.benchmark.load import Api
from inferloom_cli.benchmark.summary import Summary

_WIDTH, _HEIGHT = 360, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 40, 44
_COLOURS = ("#2563eb", "#dc2626", "#059669")

Lines = Mapping[str, Sequence[float | None]]
"""Values by name, one for each place on the horizontal axis; None leaves a place out."""


def plot(rows: Sequence[Summary], api: Api, title: str) -> str:
    """Throughput and latency over the number of clients."""
    clients = [str(row.clients) for row in rows]
    if api == "embeddings":
        panels: dict[str, Lines] = {
            "inputs per second": {"": [row.inputs_per_s for row in rows]},
            "latency, ms": {
                "p50": [row.latency_p50_ms for row in rows],
                "p99": [row.latency_p99_ms for row in rows],
            },
        }
    else:
        panels = {
            "output tokens per second": {"": [row.tokens_per_s for row in rows]},
            "time to first token, ms": {
                "p50": [row.ttft_p50_ms for row in rows],
                "p99": [row.ttft_p99_ms for row in rows],
            },
            "time between tokens, ms": {
                "p50": [row.itl_p50_ms for row in rows],
                "p99": [row.itl_p99_ms for row in rows],
            },
        }
    drawn = "".join(
        f'<g transform="translate({at * _WIDTH} 24)">{_panel(name, lines, clients)}</g>'
        for at, (name, lines) in enumerate(panels.items())
    )
    width, height = _WIDTH * len(panels), _HEIGHT + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="#374151">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>{drawn}</svg>\n'
    )


def _panel(name: str, lines: Lines, places: Sequence[str]) -> str:
    top = ceiling(max((value for line in lines.values() for value in line if value is not None), default=1))
    parts = [f'<text x="{_LEFT}" y="20">{escape(name)}</text>']
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    for at, place in enumerate(places):
        x = _x(at, len(places))
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{place}</text>')
    parts.append(f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">clients</text>')
    for number, (label, line) in enumerate(lines.items()):
        colour = _COLOURS[number]
        points = [(_x(at, len(line)), _y(value, top)) for at, value in enumerate(line) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        if label:
            x = _WIDTH - _RIGHT - 34 * (len(lines) - number) + 6
            parts.append(f'<text x="{x}" y="20" fill="{colour}">{escape(label)}</text>')
    return "".join(parts)


def _x(at: int, count: int) -> float:
    # Places are evenly apart, because numbers of clients are mostly powers of two.
    inner = _WIDTH - _LEFT - _RIGHT
    return _LEFT + inner * (at + 0.5) / count


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top


def ceiling(value: float) -> float:
    """A round number not below ``value``: 1, 2, 4 or 8 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** len(str(int(value))) / 10 if value >= 1 else 0.1
    while power > value:
        power /= 10
    return next(factor * power for factor in (1, 2, 4, 8, 10) if factor * power >= value)
