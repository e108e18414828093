"""What several engines answered, beside each other. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from answering.case import Case, Outcome, verdict

MOST_SHOWN = 60
"""Characters of a cell."""


@dataclass(frozen=True)
class Answers:
    """One engine's."""

    card: Mapping[str, Any]
    outcomes: Mapping[str, Outcome]


def table(cases: Mapping[str, Case], found: Mapping[str, Answers]) -> Table:
    """A row for each capability, a column for each engine; above them who answered."""
    made = Table("capability", *found, box=None, header_style="bold", pad_edge=False)
    for what in ("engine", "server", "dtype", "quantization", "continuity"):
        made.add_row(what, *(str(_fact(each.card, what) or "–") for each in found.values()), style="dim")
    for name, case in cases.items():
        cells = []
        for each in found.values():
            judged = verdict(case, each.outcomes[name], each.card)
            cells.append(_cell(judged.words, told=judged.told))
        made.add_row(name, *cells)
    return made


def differences(cases: Mapping[str, Case], found: Mapping[str, Answers]) -> Iterator[str]:
    """A line for each answer that no card tells."""
    for name, case in cases.items():
        for engine, each in found.items():
            judged = verdict(case, each.outcomes[name], each.card)
            if not judged.told:
                yield f"{engine}: {name}: {judged.words}"


def _cell(words: str, *, told: bool) -> str:
    shown = escape(words if len(words) <= MOST_SHOWN else f"{words[: MOST_SHOWN - 1]}…")
    return shown if told else f"[red]! {shown}[/]"


def _fact(card: Mapping[str, Any], name: str) -> Any:
    return (card.get("continuation") or {}).get(name) if name == "continuity" else card.get(name)
