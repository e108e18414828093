"""What ``inferloom top`` shows: the mesh as tables that fit a width and a height. Pure."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inferloom.v1 import gateway_pb2 as pb
from inferloom_cli import words
from inferloom_cli.happening_words import CARE, TROUBLE, sentence
from inferloom_cli.story import span
from inferloom_cli.top_rows import gateways, links, loop_late, standing
from inferloom_mesh.durations import seconds

LEAST_LATELY = 3
"""Lines about what happened that there is room for, if there is room for the tables."""

_BARS = " ▁▂▃▄▅▆▇█"
_SPARK = 32


class _Column(NamedTuple):
    title: str
    cell: Callable[[Any], str | Text]
    from_width: int = 0
    """The narrowest terminal that has it."""
    right: bool = True


def _name(value: str, most: int = 28) -> str:
    return value if len(value) <= most else f"{value[: most - 1]}…"


def _rate(value: float) -> str:
    return f"{value:.1f}" if 0 < value < 10 else words.count(value)


def _time(spread: pb.Spread, which: str) -> str:
    return span(seconds(getattr(spread, which))) if spread.count else "–"


def _number(value: float) -> str:
    return words.count(value) if value else "–"


def _kv(worker: pb.MeshWorker) -> Text:
    load = worker.load
    if not load.total_kv_tokens:
        return Text("–")
    used = 1 - load.free_kv_tokens / load.total_kv_tokens
    return Text(f"{used:.0%}", style="red" if used > 0.95 else "yellow" if used > 0.8 else "")


_GATEWAYS = (
    _Column("GATEWAY", lambda row: _name(row.name), right=False),
    _Column("ZONE", lambda row: _name(row.zone, 12) or "–", 120, right=False),
    _Column("STATE", lambda row: Text(row.state, style=row.style), right=False),
    _Column("PROC", lambda row: str(row.processes), 110),
    _Column("REQ/S", lambda row: _rate(row.activity.requests_per_second)),
    _Column("TOK/S", lambda row: _rate(row.activity.tokens_per_second)),
    _Column("FAIL/S", lambda row: _rate(row.activity.failures_per_second), 90),
    _Column("RUN", lambda row: str(row.activity.running)),
    _Column("WAIT", lambda row: str(row.waiting)),
    _Column("TTFT", lambda row: _time(row.activity.first_token, "p50")),
    _Column("95%", lambda row: _time(row.activity.first_token, "p95"), 76),
    _Column("RETRIED", lambda row: _number(row.totals.retries), 120),
    _Column("MOVED", lambda row: _number(row.totals.moves), 100),
    _Column("EJECTED", lambda row: _number(row.totals.ejections), 120),
    _Column("LATE", loop_late, 130),
)

_WORKERS = (
    _Column("WORKER", lambda row: _name(row.id), right=False),
    _Column("ZONE", lambda row: _name(row.zone, 12) or "–", 120, right=False),
    _Column("STATE", standing, right=False),
    _Column("MODELS", lambda row: _models(row), right=False),
    _Column("RUN", lambda row: str(row.load.running)),
    _Column("WAIT", lambda row: str(row.load.waiting)),
    _Column("CALLS", lambda row: str(row.in_flight), 100),
    _Column("ROOM", lambda row: str(row.capacity), 110),
    _Column("KV", _kv),
    _Column("TOK/S", lambda row: _rate(row.load.tokens_per_second)),
    _Column("LINK", links, 130, right=False),
    _Column("EPOCH", lambda row: str(row.epoch), 140),
)

_MODELS = (
    _Column("MODEL", lambda row: _name(row.id, 36), right=False),
    _Column("WORKERS", lambda row: _usable(row)),
    _Column("REQ/S", lambda row: _rate(row.activity.requests_per_second)),
    _Column("TOK/S", lambda row: _rate(row.activity.tokens_per_second)),
    _Column("FAIL/S", lambda row: _rate(row.activity.failures_per_second), 90),
    _Column("RUN", lambda row: str(row.activity.running)),
    _Column("TTFT", lambda row: _time(row.activity.first_token, "p50")),
    _Column("95%", lambda row: _time(row.activity.first_token, "p95"), 76),
    _Column("A TOKEN", lambda row: _time(row.activity.token, "p50"), 100),
    _Column("TOTAL", lambda row: _time(row.activity.total, "p50"), 110),
)


def _usable(model: pb.MeshModel) -> Text:
    text = f"{model.usable}/{model.workers}" + "!" * model.differing
    style = "red" if not model.usable else "yellow" if model.usable < model.workers or model.differing else ""
    return Text(text, style=style)


def _models(worker: pb.MeshWorker) -> Text:
    names = [*worker.models, *(f"{name}…" for name in worker.loading)]
    return Text(_name(", ".join(names), 40) or "–")


def screen(
    mesh: pb.Mesh, width: int, height: int, rates: Sequence[float] = (), away: str = ""
) -> RenderableType:
    """The mesh in so many columns and lines.

    Args:
        mesh: What is shown.
        width: Columns.
        height: Lines; 0: as many as it takes.
        rates: Tokens a second of late, oldest first, for a small graph.
        away: Why this is what was last said; empty: it is what is.
    """
    head = _head(mesh, width, rates)
    notes = _notes(mesh, away)
    sections: list[tuple[Sequence[_Column], Sequence[Any]]] = [
        (_GATEWAYS, gateways(mesh)),
        (_WORKERS, mesh.workers),
        (_MODELS, mesh.models),
    ]
    sections = [(columns, rows) for columns, rows in sections if rows]
    fixed = len(head) + len(notes) + 2 * len(sections)
    lately = list(reversed(mesh.happenings))
    counts = [len(rows) for _, rows in sections]
    if height:
        wanted = min(len(lately), LEAST_LATELY)
        counts = fitted(counts, height - 1 - fixed - (wanted + 2 if wanted else 0))
        left = height - 1 - fixed - sum(counts) - 2
        lately = lately[: max(0, left)]
    shown: list[RenderableType] = [*head]
    for (columns, rows), count in zip(sections, counts, strict=True):
        shown += [Text(), _table(columns, rows, count, width)]
    if lately:
        shown += [Text(), Text("LATELY", style="bold"), *(_lately(one, width) for one in lately)]
    return Group(*shown, *notes)


def fitted(counts: Sequence[int], room: int) -> list[int]:
    """Lines that sections of ``counts`` lines get in ``room``: the longest ones fewer, each at least one."""
    lines = list(counts)
    while sum(lines) > max(room, len(lines)) and max(lines) > 1:
        lines[lines.index(max(lines))] -= 1
    return lines


def _head(mesh: pb.Mesh, width: int, rates: Sequence[float]) -> list[Text]:
    activity = mesh.activity
    usable = sum(not standing(worker).style for worker in mesh.workers)
    names = len({process.gateway for process in mesh.processes})
    moment = time.strftime("%H:%M:%S", time.localtime(mesh.taken_at.seconds))
    first = Text.assemble(
        ("inferloom top", "bold"),
        f"  {moment}  {_several(names, 'gateway')}, ",
        (f"{usable} of {_several(len(mesh.workers), 'worker')} well", "" if usable else "red"),
        f", {_several(len(mesh.models), 'model')}",
    )
    waiting = sum(process.waiting for process in mesh.processes)
    told = [
        f"{_rate(activity.requests_per_second)} req/s",
        f"{_rate(activity.tokens_per_second)} tok/s",
        f"{activity.running} running",
        f"{waiting} waiting",
        f"TTFT {_time(activity.first_token, 'p50')}, 95% {_time(activity.first_token, 'p95')}",
    ]
    second = Text("  ".join(told))
    if width >= len(second) + _SPARK + 2 and any(rates):
        second.append(f"  {_spark(rates)}", style="cyan")
    first.truncate(width)
    second.truncate(width)
    return [first, second]


def _several(count: int, name: str) -> str:
    return f"{count} {name}" + "s" * (count != 1)


def _spark(rates: Sequence[float]) -> str:
    last = rates[-_SPARK:]
    top = max(last) or 1.0
    return "".join(_BARS[round(rate / top * (len(_BARS) - 1))] for rate in last)


def _notes(mesh: pb.Mesh, away: str) -> list[Text]:
    notes = [Text(away, style="yellow")] if away else []
    for process in mesh.processes:
        for registry in process.registries:
            if registry.trouble:
                said = f"{process.gateway}: registry {registry.address}: {registry.trouble}"
                notes.append(Text(said, style="yellow", overflow="ellipsis", no_wrap=True))
    for each in mesh.unanswered[:4]:
        said = f"no answer from {each.name} at {each.address}: {each.why}"
        notes.append(Text(said, style="yellow", overflow="ellipsis", no_wrap=True))
    return [Text(), *notes] if notes else []


def _table(columns: Iterable[_Column], rows: Sequence[Any], count: int, width: int) -> Table:
    shown = [column for column in columns if width >= column.from_width]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in shown:
        table.add_column(
            column.title, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis"
        )
    cut = len(rows) > count
    for row in rows[: count - 1 if cut else count]:
        table.add_row(*(column.cell(row) for column in shown))
    if cut:
        table.add_row(Text(f"… {len(rows) - count + 1} more", style="dim"))
    return table


def _lately(one: pb.Happening, width: int) -> Text:
    moment = time.strftime("%H:%M:%S", time.localtime(one.at.seconds))
    style = "red" if one.kind in TROUBLE else "yellow" if one.kind in CARE else ""
    text = Text.assemble((moment, "dim"), "  ", (sentence(one), style), no_wrap=True, overflow="ellipsis")
    text.truncate(width, overflow="ellipsis")
    return text
