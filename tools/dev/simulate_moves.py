"""Would it pay to move running streams from a hot worker? In simulated time, with the gateway's own router.

Usage: python tools/dev/simulate_moves.py [--workers 8] [--requests 4000] [--seed 1]

Workers compute step by step: a step has a token for each stream, and reads a chunk of prompts, so what joins
or leaves a batch is felt by all in it. A stream that is moved is read anew where its prompt is not cached.
"""

import argparse
from dataclasses import replace
from random import Random

from rich.console import Console
from rich.table import Table
from simulation.gateways import Ours
from simulation.machine import Hardware
from simulation.moves import Moved, Moving, MovingMesh
from simulation.traffic import WORKLOADS, Traffic, Workload

POLICIES = (
    Moving("stay"),
    Moving("1 a second, from twice as much", ratio=2.0, margin=16, a_second=1.0),
    Moving("4 a second, from 1.5 times", ratio=1.5, margin=8),
    Moving("16 a second, from 1.25 times", ratio=1.25, margin=4, a_second=16.0),
    Moving("4 a second, off ejected workers", off_ejected=True),
    Moving("16 a second, off ejected workers", off_ejected=True, a_second=16.0),
)
TRAFFIC: dict[str, tuple[Workload, float]] = {
    "conversations": (WORKLOADS["conversations"], 4.0),
    "one instruction": (WORKLOADS["one instruction"], 4.0),
    "bursts": (WORKLOADS["bursts"], 3.0),
    "long answers": (
        replace(WORKLOADS["conversations"], name="long answers", output=(20, 2500), turns=2),
        0.9,
    ),
    "slow worker": (WORKLOADS["slow worker"], 3.0),
}
"""Each with its requests a second for each worker."""


def simulate(workload: str, moving: Moving, workers: int, requests: int, seed: int) -> Moved:
    """Run one policy under one workload."""
    work, rate = TRAFFIC[workload]
    mesh = MovingMesh(Ours(Random(seed)), workers, Hardware(), moving)
    return mesh.run(work, Traffic(work, rate * workers, seed), requests * 3 // 4, requests // 4)


def quantile(values: list[float], part: float) -> float:
    """A quantile."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def main() -> None:
    """Print a table for each workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=TRAFFIC, default=list(TRAFFIC))
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console = Console(width=150)
    for workload in arguments.workload:
        table = Table(
            "moves",
            "wait p50, p99 s",
            "gap mean, p99 ms",
            "pause p99, max s",
            "answer p50, p99, max s",
            "max/mean",
            "moved",
            title=workload,
        )
        for moving in POLICIES:
            out = simulate(workload, moving, arguments.workers, arguments.requests, arguments.seed)
            mean = sum(out.gaps) / len(out.gaps)
            table.add_row(
                moving.name,
                f"{quantile(out.waits, 0.5):.3f}, {quantile(out.waits, 0.99):.2f}",
                f"{mean * 1e3:.1f}, {quantile(out.gaps, 0.99) * 1e3:.1f}",
                f"{quantile(out.pauses, 0.99):.2f}, {max(out.pauses):.2f}",
                f"{quantile(out.totals, 0.5):.1f}, {quantile(out.totals, 0.99):.1f}, {max(out.totals):.1f}",
                f"{sum(out.imbalance) / len(out.imbalance):.2f}",
                str(out.moves),
            )
        console.print(table)


if __name__ == "__main__":
    main()
