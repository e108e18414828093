"""What differs when a running server is asked through the mesh and not directly? By capability.

Usage: python tools/dev/check_sidecar.py URL [--model NAME] [--options QUERY] [--only NAME ...] [--json FILE]

URL is that of OpenAI's endpoints, such as http://127.0.0.1:8080/v1, and QUERY what else the address of a
sidecar may say. A mesh with a worker beside the server is started, and each capability of ``answering`` is
asked for with OpenAI's client at both doors, greedily and shortly. ``same`` is the same answer; ``by name`` a
refusal of the mesh that its card tells; ``both refuse`` and ``both wrong`` are the server's own; anything
else is a difference to look at. Ends with status 1 if the mesh fails where the server does not, and no card
says why.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from answering.case import Case, Outcome, asked, verdict
from answering.suite import CASES, card_of
from openai import AsyncOpenAI
from peers.own import mesh
from rich.console import Console
from rich.markup import escape
from rich.table import Table

LIMIT_S = 300.0

_SHOWN = 200
"""Characters of an answer in the table."""


@dataclass(frozen=True)
class Both:
    """What a case came to at both doors."""

    words: str
    direct: Outcome
    mesh: Outcome


def compared(case: Case, direct: Outcome, through: Outcome, card: Mapping[str, Any]) -> str:
    """What a difference is."""
    refused, wrong = direct.status or direct.wrong, through.status or through.wrong
    if not (refused or wrong):
        return "same" if direct.seen == through.seen else "differs"
    if wrong and not through.wrong and verdict(case, through, card).told:
        return "by name"
    if refused and not wrong:
        return "only through the mesh"
    if direct.status and through.status:
        return "both refuse"
    return "both wrong" if refused else "FAILS"


async def compare(url: str, model: str, rest: str, only: list[str]) -> dict[str, Both]:
    """Ask at both doors, one case after another."""
    found = {}
    async with (
        AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=0, timeout=LIMIT_S) as direct,
        AsyncOpenAI(base_url=rest, api_key="EMPTY", max_retries=0, timeout=LIMIT_S) as through,
    ):
        card = await card_of(through, "chat")
        for name in only:
            case = CASES[name]
            one, other = await asked(case, direct, model), await asked(case, through, "chat")
            found[name] = Both(compared(case, one, other, card), one, other)
            print(f"{name}: {found[name].words}", file=sys.stderr)
    return found


def shown(outcome: Outcome) -> str:
    """An answer, or what was said instead."""
    if outcome.status:
        return f"{outcome.status} {outcome.code} {outcome.param} {outcome.message}"
    return outcome.wrong or json.dumps(outcome.seen)


async def _only_model(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="EMPTY") as client:
        return (await client.models.list()).data[0].id


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--model")
    parser.add_argument("--options", default="")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = given.model or asyncio.run(_only_model(given.url))
    query = "&".join(part for part in (f"model={model}", given.options) if part)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "mesh.log"
        with mesh(log, "--model", f"chat=sidecar:{given.url}?{query}") as (report, _):
            found = asyncio.run(compare(given.url, model, f"http://{report['rest']}/v1", given.only))
    if given.json is not None:
        given.json.write_text(json.dumps({name: asdict(at) for name, at in found.items()}, indent=1))
    table = Table("capability", "verdict", "directly", "through the mesh")
    for name, at in found.items():
        doors = ("", "") if at.words == "same" else (shown(at.direct), shown(at.mesh))
        table.add_row(name, at.words, *(escape(door[:_SHOWN]) for door in doors))
    Console(width=160).print(table)
    if any(at.words == "FAILS" for at in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
