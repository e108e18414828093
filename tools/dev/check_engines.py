"""Do all engines answer as their cards say? The same requests by OpenAI's SDK for each, and what differs.

The engines are the project's own (torch, on the demo model), vLLM inside of a worker, and vLLM's and
llama.cpp's servers as sidecars, each behind a gateway of its own, one after another; those are left out whose
programs are not given. A cell is ``yes``, where what was asked for came and was right; ``no`` with the
parameter that was refused; or what is wrong. What differs must stand on the engine's card (``GET
/v1/models/{id}``: its tasks, parameters and kinds of constraints); what does not is shown in red, and the
status is 1.

Usage: python tools/dev/check_engines.py [--vllm ENVIRONMENT/bin/python --model FOLDER [--tiny]] [--threads N]
       [--dtype bfloat16] [--options ARGUMENTS] [--llama PROGRAM] [--only ENGINE ...] [--json FILE]
       [--folder LOGS]
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from answering.engines import ENGINES, Given
from answering.show import Answers, differences, table
from answering.suite import CASES, card_of, suite
from faulting.parts import EndedError
from openai import AsyncOpenAI
from peers.process import DidNotStartError, end_well
from rich.console import Console
from serving_vllm.given import add_model, model_of, query_of, room


async def answers(given: Given, name: str) -> Answers:
    """All that one engine answers, and its card."""
    async with (
        ENGINES[name](given) as (url, model),
        AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=2, timeout=600) as client,
    ):
        return Answers(await card_of(client, model), await suite(client, model))


def write(file: Path, found: Mapping[str, Answers]) -> None:
    """Everything as JSON."""
    told = {
        name: {"card": each.card, "answers": {case: asdict(one) for case, one in each.outcomes.items()}}
        for name, each in found.items()
    }
    file.write_text(json.dumps(told, indent=1))


def main() -> None:
    """Ask every engine, and print what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vllm", type=Path, help="interpreter with vLLM")
    add_model(parser, needed=False, computes="vLLM and llama-server compute")
    parser.add_argument("--dtype", default="bfloat16", help="type that vLLM computes in")
    parser.add_argument("--llama", type=Path, help="the program llama-server")
    parser.add_argument("--only", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    end_well()
    if args.vllm is not None and args.model is None:
        parser.error("--vllm needs --model")
    found: dict[str, Answers] = {}
    with room(args) as folder:
        model = None if args.model is None else model_of(args, folder)
        given = Given(args.vllm, model, query_of(args, dtype=args.dtype), args.llama, folder, args.threads)
        for name in args.only:
            if not given.has(name):
                continue
            print(f"{name} …", file=sys.stderr, flush=True)
            (folder / name).mkdir(parents=True, exist_ok=True)
            try:
                found[name] = asyncio.run(answers(given, name))
            except (DidNotStartError, EndedError) as failure:
                sys.exit(f"{name}: {failure}")
    if args.json is not None:
        write(args.json, found)
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table(CASES, found))
    untold = list(differences(CASES, found))
    for line in untold:
        print(line)
    print("nothing differs that no card tells" if not untold else f"{len(untold)} are not told by a card")
    sys.exit(1 if untold else 0)


if __name__ == "__main__":
    main()
