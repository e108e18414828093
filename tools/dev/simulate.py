"""Compare routing policies in simulated time: prefix hits, waits and balance.

Usage: python tools/dev/simulate.py [--workload NAME ...] [--policy NAME ...] [--workers 64]
    [--requests 100000] [--rate 4.0] [--gateways 1] [--tell 0.1] [--cache 6000] [--seed 1]
    [--tune FIELD=VALUE ...]

The policy "ours" is the gateway's own router and fleet, with simulated time. The others are what gateways and
peers commonly do; "tree" chooses as SGLang's cache-aware router does. A worker has slots, a queue, a prefix
cache of bounded size, and times of prompts and tokens (simulation/machine.py says what is simplified). With
several gateways each knows its own calls at once, and the others' as the workers tell them. The rate is in
requests a second for each worker. A quarter of the requests warms the caches up and is not counted.
"""

import argparse
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table
from simulation.gateways import AtRandom, Gateway, LeastLoaded, Ours, RoundRobin, Tree, TwoChoices
from simulation.machine import Hardware
from simulation.mesh import Mesh, Outcome
from simulation.traffic import WORKLOADS, Traffic

from inferloom_gateway.fleet.router import Tuning

POLICIES = ("ours", "own key", "shared key", "random", "round-robin", "least-loaded", "two choices", "tree")
_OTHERS: dict[str, type[Gateway]] = {
    "random": AtRandom,
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "two choices": TwoChoices,
    "tree": Tree,
}
_LEVELS = {"ours": 2, "own key": 1, "shared key": 0}
"""Which of the two keys decide; "own key" and "shared key" are our policy with one of them."""


_MEASURES: dict[str, Callable[[Outcome], float]] = {
    "hits": lambda out: -out.hits,
    "p99": lambda out: out.wait(0.99),
    "max/mean": lambda out: out.unevenness,
}
"""What policies are compared in; less is better."""


def gateway(policy: str, seed: int, tuning: Tuning) -> Gateway:
    """A gateway with a policy."""
    random = Random(seed)
    if policy in _LEVELS:
        return Ours(random, tuning, levels=_LEVELS[policy])
    return _OTHERS[policy](random)


def simulate(arguments: argparse.Namespace, policy: str, workload: str, tuning: Tuning) -> Outcome:
    """Run one policy under one workload."""
    gateways = [gateway(policy, arguments.seed + number, tuning) for number in range(arguments.gateways)]
    hardware = Hardware(cache_blocks=arguments.cache)
    mesh = Mesh(gateways, arguments.workers, hardware, arguments.tell, arguments.seed)
    traffic = Traffic(WORKLOADS[workload], arguments.rate * arguments.workers, arguments.seed)
    counted = arguments.requests * 3 // 4
    return mesh.run(WORKLOADS[workload], traffic, counted, arguments.requests - counted)


def main() -> None:
    """Print a table for each workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=4.0)
    parser.add_argument("--gateways", type=int, default=1)
    parser.add_argument("--tell", type=float, default=0.1)
    parser.add_argument("--cache", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tune", nargs="*", default=[], metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    given: dict[str, Any] = {}
    for each in arguments.tune:
        name, _, value = each.partition("=")
        given[name] = int(value) if name == "choices" else float(value)
    tuning = Tuning(**given)
    console = Console(width=120)
    for workload in arguments.workload:
        table = Table(title=workload, box=None, pad_edge=False)
        table.add_column("policy")
        for column in (
            "hits",
            "p50 s",
            "p99 s",
            "gap p99 ms",
            "queued",
            "max/mean",
            "slow",
            "ejected",
            "cpu s",
        ):
            table.add_column(column, justify="right")
        outcomes = {}
        for policy in arguments.policy:
            out = outcomes[policy] = simulate(arguments, policy, workload, tuning)
            table.add_row(
                policy,
                f"{out.hits:.1%}",
                f"{out.wait(0.5):.3f}",
                f"{out.wait(0.99):.2f}",
                f"{out.gap(0.99) * 1000:.1f}",
                f"{out.queued / max(1, out.requests):.1%}",
                f"{out.unevenness:.2f}",
                f"{out.slow_share:.2f}",
                str(out.ejections),
                f"{out.seconds:.0f}",
            )
        console.print(table)
        if "ours" in outcomes:
            console.print(verdict(outcomes))


def verdict(outcomes: Mapping[str, Outcome]) -> str:
    """Which place our policy has among others, in what it is to be good at."""
    places = []
    for what, of in _MEASURES.items():
        order = sorted(outcomes, key=lambda policy: of(outcomes[policy]))
        place = order.index("ours")
        places.append(f"{what}: {place + 1} of {len(order)}" + f" (first is {order[0]})" * bool(place))
    return "ours: " + ", ".join(places)


if __name__ == "__main__":
    main()
