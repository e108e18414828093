"""The fault suite: what each fault costs, on real processes under load, beside what it may cost.

A table comes out: fault, detected in, requests failed, longest client gap, and whether the bars are held. The
rows are in faulting/rows/; faulting/suite.py says how one is added.

Usage: python tools/dev/faults.py [--quick] [--list] [--only WORDS] [--other FOLDER] [--keep FOLDER]
       [--clients N] [--deaths N] [--json]

--other FOLDER is the project in another version, with its own .venv or run by this one: for the rows that mix
versions. Each row runs in a folder of its own; --keep leaves them there, with the parts' logs.
"""

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from faulting.suite import Ground, Row, Seen, load_rows

HEAD = (
    "| fault | detected in s | failed | of | longest gap s | longest call s | bars | errors |\n"
    "|---|---|---|---|---|---|---|---|"
)


def run(row: Row, ground: Ground) -> tuple[Seen, list[str]]:
    """Run one row in its folder; return what was seen and what was missed."""
    ground.folder.mkdir(parents=True, exist_ok=True)

    async def inflicted() -> Seen:
        return await row.inflict(ground)

    try:
        seen = asyncio.run(inflicted())
    except Exception as failure:
        traceback.print_exc()
        return Seen(failed=0, answered=0), [f"the row itself failed: {failure!r}"]
    return seen, row.missed(seen)


def line(row: Row, seen: Seen, missed: list[str]) -> str:
    """One line of the table."""
    detected, gap, call = (_figure(each) for each in (seen.detected_s, seen.gap_s, seen.call_s))
    errors = ", ".join(f"{count} x {why}" for why, count in seen.errors.items())
    verdict = "held" if not missed else "; ".join(missed)
    if seen.note:
        verdict += f" ({seen.note})"
    cells = (row.name, detected, seen.failed, seen.failed + seen.answered, gap, call, verdict, errors)
    return "| " + " | ".join(map(str, cells)) + " |"


def _figure(seconds: float | None) -> str:
    return "–" if seconds is None or math.isnan(seconds) else f"{seconds:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that are asked for; the status is 1 if a bar was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="only the five-minute subset")
    parser.add_argument("--list", action="store_true", help="only say which rows there are")
    parser.add_argument("--only", action="append", metavar="WORDS", help="only rows whose name has these")
    parser.add_argument("--other", type=Path, metavar="FOLDER", help="the project in another version")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the logs there")
    parser.add_argument("--clients", type=int, default=8, help="clients of each of the two sorts")
    parser.add_argument("--deaths", type=int, default=100, help="how often that row kills a worker")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    given = parser.parse_args(arguments)
    rows = [row for row in load_rows().values() if row.quick or not given.quick]
    if given.only:
        rows = [row for row in rows if any(words in row.name for words in given.only)]
        if not rows:
            parser.error("no row has such a name; --list says which there are")
    if given.list:
        print("\n".join(f"{'quick' if row.quick else '     '}  {row.name}" for row in rows))
        return 0
    kept = given.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    other = None if given.other is None else interpreter(given.other.resolve(), kept)
    print("" if given.json else HEAD, flush=True)
    good, began = True, time.monotonic()
    for number, row in enumerate(rows):
        if row.needs_other and other is None:
            continue
        ground = Ground(
            folder=kept / f"{number:02d}", other=other, clients=given.clients, deaths=given.deaths
        )
        seen, missed = run(row, ground)
        good = good and not missed
        told = json.dumps({"fault": row.name, **asdict(seen), "missed": missed})
        print(told if given.json else line(row, seen, missed), flush=True)
    print(f"{time.monotonic() - began:.0f} s; logs are in {kept}", file=sys.stderr)
    return 0 if good else 1


def interpreter(folder: Path, at: Path) -> Path:
    """What runs the project of another folder: its own interpreter, or this one with its packages first."""
    own = folder / ".venv/bin/python"
    if own.exists():
        return own
    at.mkdir(parents=True, exist_ok=True)
    packages = ":".join(
        str(folder / each) for each in ("gateway", "mesh", "protos", "registry", "tools", "worker")
    )
    script = at / "other-python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    os.chmod(script, 0o755)
    return script


if __name__ == "__main__":
    sys.exit(main())
