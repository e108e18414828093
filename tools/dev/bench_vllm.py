"""What the mesh costs in front of vLLM: vLLM's own server alone, beside the same engine behind a gateway.

Three ways to one model run at once, and have the same load in turn: vLLM's OpenAI server alone; vLLM inside
of a worker, behind a gateway; and that server as a sidecar of another mesh. Who is not asked rests; what all
of them take then is told. Each round begins with another one, and no two of them send the same prompt. The
figures are the medians of the rounds, and least and most. Processor time is that of each process, by the
scheduler's accounting; the client's is not in it, though it runs on the same processors.

With ``--tiny`` the model is a random Llama of two layers with the given one's tokenizer: where vLLM's own
computing fills every processor, what is around it can hardly be seen.

Usage: python tools/dev/bench_vllm.py --python ENVIRONMENT/bin/python --model FOLDER [--tiny] [--rounds 5]
       [--streams 32] [--tokens 64] [--alone 20] [--threads N] [--dtype bfloat16] [--options ARGUMENTS]
       [--no-sidecar] [--json FILE] [--folder LOGS]
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from faulting.parts import EndedError
from peers.bars import Bar, judge
from peers.process import DidNotStartError, end_well
from peers.show import numbers, table
from peers.sides import FailedRequestsError, Figures
from rich.console import Console
from serving_vllm.doors import ALONE, BESIDE, INSIDE, Door, doors
from serving_vllm.given import add_model, add_python, model_of, query_of, room, vllm_of
from serving_vllm.spent import spent

from inferloom_cli.bench import measure, run_fast
from inferloom_cli.benchmark.load import Load
from inferloom_cli.benchmark.summary import Summary

ADDED = "added to the first text, 1 client, ms"
LEAST_RATE = 0.95
MOST_ADDED_MS = 3.0

_REST_S = 3.0
_SETTLE_S = 1.5
"""How long nobody is asked before a way is measured. vLLM's processes go on spinning for a second behind
their last step (``busy_loop_s`` of its ``SpinCondition``), and would take a processor from the next way."""

_PROMPTS = 100_000
"""Prompts that a round may send at one door."""


async def figures(door: Door, first: int, args: argparse.Namespace) -> Figures:
    """One round at one door, whose prompts begin with number ``first``."""
    await asyncio.sleep(_SETTLE_S)
    alone = Load(door.model, requests=args.alone, tokens=2, ignore_eos=True, first=first)
    one = await _asked(door, alone)
    many = Load(door.model, clients=args.streams, requests=args.streams, tokens=args.tokens, ignore_eos=True)
    before = _spent(door)
    all_ = await _asked(door, replace(many, first=first + _PROMPTS // 2))
    after = _spent(door)
    taken = {who: (after[who] - before[who]) * 1e6 / all_.output_tokens for who in before}
    if one.ttft_p50_ms is None or all_.ttft_p50_ms is None:
        raise FailedRequestsError("no text came")
    return {
        _rate(args): all_.tokens_per_s,
        f"first text, {args.streams} streams, ms": all_.ttft_p50_ms,
        "first text, 1 client, ms": one.ttft_p50_ms,
        **{f"a token costs {who}, µs": taken[who] for who in WHO if who in taken},
        "a token costs all of them, µs": sum(taken.values()),
    }


WHO = ("the gateway", "the worker", "vLLM's server", "vLLM's engine")


def _rate(args: argparse.Namespace) -> str:
    return f"tok/s, {args.streams} streams"


def _spent(door: Door) -> dict[str, float]:
    return {who: spent(pids) for who, pids in door.processes.items()}


async def _asked(door: Door, load: Load) -> Summary:
    summary = await measure(door.endpoint, load)
    if summary.failed:
        raise FailedRequestsError(f"{summary.failed} requests failed: {summary.first_error}")
    return summary


async def compare(args: argparse.Namespace, model: Path, folder: Path) -> dict[str, list[Figures]]:
    """All rounds."""
    names = [ALONE, INSIDE, *([] if args.no_sidecar else [BESIDE])]
    query = query_of(args, dtype=args.dtype, max_model_len=2048, max_num_seqs=args.streams)
    rounds: dict[str, list[Figures]] = {name: [] for name in names}
    began = time.monotonic()
    async with doors(vllm_of(args), model, query, names, folder) as open_:
        print(f"ready after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        for place, door in enumerate(open_.values()):
            warm = Load(door.model, clients=args.streams, requests=args.streams, tokens=8, ignore_eos=True)
            await _asked(door, replace(warm, first=-1000 * (place + 1)))
        print(f"at rest, ms a second: {await _at_rest(open_)}", flush=True)
        for number in range(args.rounds):
            for at in range(len(names)):
                name = names[(number + at) % len(names)]
                print(f"round {number + 1} of {args.rounds}: {name}", file=sys.stderr, flush=True)
                first = (number * len(names) + names.index(name) + 1) * _PROMPTS
                rounds[name].append(await figures(open_[name], first, args))
    for name in names[1:]:
        for mine, theirs in zip(rounds[name], rounds[ALONE], strict=True):
            mine[ADDED] = mine["first text, 1 client, ms"] - theirs["first text, 1 client, ms"]
    return rounds


async def _at_rest(open_: Mapping[str, Door]) -> str:
    """What everything takes while nobody asks."""
    await asyncio.sleep(_SETTLE_S)
    before = {name: _spent(door) for name, door in open_.items()}
    await asyncio.sleep(_REST_S)
    taken = {name: _spent(door) for name, door in open_.items()}
    return "; ".join(
        f"{name}: "
        + ", ".join(f"{who} {(taken[name][who] - was) * 1e3 / _REST_S:.1f}" for who, was in some.items())
        for name, some in before.items()
    )


def report(args: argparse.Namespace, rounds: Mapping[str, Sequence[Figures]], what: str) -> bool:
    """Print each way beside vLLM alone; return whether the bars were reached."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(f"{what}, {len(rounds[ALONE])} alternating rounds, {args.tokens} tokens a stream")
    bars = (Bar(_rate(args), LEAST_RATE, (ALONE,)), Bar(ADDED, MOST_ADDED_MS))
    told, met = {}, True
    for name in list(rounds)[1:]:
        pair = {name: rounds[name], ALONE: rounds[ALONE]}
        verdicts = list(judge(bars, pair))
        console.print(table(pair))
        for verdict in verdicts:
            met = met and verdict.met
            console.print(f"{name}: {verdict}", style="green" if verdict.met else "red")
        told[name] = numbers(name, {name: what}, pair, verdicts)
    if args.json is not None:
        args.json.write_text(json.dumps(told, indent=2) + "\n")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_python(parser)
    add_model(parser, threads=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="of each stream")
    parser.add_argument("--alone", type=int, default=20, help="requests of the client that is alone")
    parser.add_argument("--dtype", default="bfloat16", help="what vLLM computes in")
    parser.add_argument("--no-sidecar", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the numbers to a file")
    args = parser.parse_args()
    end_well()
    with room(args) as folder:
        model = model_of(args, folder)
        what = f"{'a tiny random Llama' if args.tiny else model.name}, {args.threads} threads"
        try:
            rounds = run_fast(lambda: compare(args, model, folder))
        except (DidNotStartError, EndedError, FailedRequestsError) as failure:
            sys.exit(str(failure))
        sys.exit(0 if report(args, rounds, what) else 1)


if __name__ == "__main__":
    main()
