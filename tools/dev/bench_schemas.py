"""Structured output on real schemas: how many a server takes, finishes, and answers with what conforms.

    python tools/dev/bench_schemas.py URL --schemas FILE [--model NAME]     any OpenAI-compatible server
    python tools/dev/bench_schemas.py --instances FILE                      the grammars alone

FILE has JSON lines: ``{"id", "schema"}``, or ``{"id", "schema", "tests": [{"valid", "data"}]}``. Each answer
has its own seed, temperature 1 and at most ``--max-tokens`` tokens, so that a run can be repeated and servers
compared on the same file.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import httpx
from schemas.answers import Case, Tally, measure, read_cases
from schemas.instances import Judged, judge

from inferloom_worker.sourcing import demo

DEMO = "smollm2-135m-instruct"


def main() -> int:
    """Measure, and say what came of it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("url", nargs="?", help="base URL of a server, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--schemas", type=Path)
    parser.add_argument("--instances", type=Path)
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--most-prompt", type=int, default=1500, help="characters of a schema in its prompt")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--first", type=int, help="only so many schemas")
    parser.add_argument("--json", type=Path, help="where all of it is written")
    args = parser.parse_args()
    written = {}
    if args.instances is not None:
        judged = judge(args.instances, demo.fetch(DEMO))
        _show_judged(judged)
        written["instances"] = asdict(judged)
    if args.schemas is not None:
        if args.url is None:
            parser.error("--schemas needs a URL")
        cases = read_cases(args.schemas)[: args.first]
        began = time.monotonic()
        tally = asyncio.run(_measured(args, cases))
        _show(tally, len(cases), time.monotonic() - began)
        written["answers"] = asdict(tally)
    if args.json is not None:
        args.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 0


async def _measured(args: argparse.Namespace, cases: list[Case]) -> Tally:
    async with httpx.AsyncClient(base_url=args.url.rstrip("/") + "/", timeout=600) as client:
        return await measure(
            client,
            args.model,
            cases,
            max_tokens=args.max_tokens,
            most_prompt=args.most_prompt,
            at_once=args.at_once,
        )


def _show(tally: Tally, count: int, seconds: float) -> None:
    print(f"{count} schemas in {seconds:.0f} s")
    for name, number in (
        ("accepted", tally.accepted),
        ("refused", len(tally.refused)),
        ("failed", len(tally.failed)),
        ("finished", tally.finished),
        ("valid", len(tally.valid)),
        ("finished and not valid", len(tally.invalid)),
        ("noted", len(tally.noted)),
    ):
        print(f"  {name:24}{number:5}")
    for title, found in (("refused", tally.refused), ("failed", tally.failed), ("not valid", tally.invalid)):
        for name, why in found.items():
            print(f"  {title}: {name}: {why}")


def _show_judged(judged: Judged) -> None:
    print(f"valid instances taken {judged.taken}, refused {len(judged.refused_valid)}")
    print(f"invalid instances refused {judged.left}, let through {len(judged.let_through)}")
    print(f"schemas refused {len(judged.refused_schemas)}")
    for title, found in (
        ("schema", judged.refused_schemas),
        ("refused", judged.refused_valid),
        ("let through", judged.let_through),
    ):
        for name, why in found.items():
            print(f"  {title}: {name}: {why}")


if __name__ == "__main__":
    sys.exit(main())
