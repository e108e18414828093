"""The numbers of a run as a table. Pure."""

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from inferloom_cli.benchmark.load import Api
from inferloom_cli.benchmark.summary import Summary

_Column = tuple[str, Callable[[Summary], str | Text]]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


_ALWAYS: tuple[_Column, ...] = (
    ("CLIENTS", lambda row: str(row.clients)),
    ("REQUESTS", lambda row: str(row.requests)),
    ("FAILED", lambda row: Text(str(row.failed), "red") if row.failed else "0"),
)
_GENERATING: tuple[_Column, ...] = (
    ("TOK/S", lambda row: _rate(row.tokens_per_s)),
    ("REQ/S", lambda row: _rate(row.requests_per_s)),
    ("TTFT\np50 ms", lambda row: _ms(row.ttft_p50_ms)),
    ("\np99", lambda row: _ms(row.ttft_p99_ms)),
    ("ITL\np50 ms", lambda row: _ms(row.itl_p50_ms)),
    ("\np99", lambda row: _ms(row.itl_p99_ms)),
)
_DRAFTS: _Column = (
    "DRAFTED\n%",
    lambda row: f"{100 * row.accepted_draft_tokens / (row.output_tokens or 1):.0f}",
)
"""Tokens that were foreseen; only where some were."""
_EMBEDDING: tuple[_Column, ...] = (
    ("INPUTS/S", lambda row: _rate(row.inputs_per_s)),
    ("REQ/S", lambda row: _rate(row.requests_per_s)),
    ("LATENCY\np50 ms", lambda row: _ms(row.latency_p50_ms)),
    ("\np99", lambda row: _ms(row.latency_p99_ms)),
)
_TOTAL: _Column = ("TOTAL\ns", lambda row: f"{row.seconds:.1f}")


def table(rows: Sequence[Summary], api: Api) -> Table:
    """One row for each load; it fits 80 columns."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    drafts = [_DRAFTS] if any(row.accepted_draft_tokens for row in rows) else []
    columns = (*_ALWAYS, *(_EMBEDDING if api == "embeddings" else _GENERATING), *drafts, _TOTAL)
    for name, _ in columns:
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*(cell(row) for _, cell in columns))
    return made
