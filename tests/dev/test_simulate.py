"""Routing in simulated time."""

from argparse import Namespace

import pytest
from simulate import POLICIES, simulate
from simulation.mesh import Outcome

from inferloom_gateway.fleet.router import Tuning


def run(policy: str, workload: str, *, requests: int = 3000, gateways: int = 1) -> Outcome:
    """A small mesh under one workload."""
    arguments = Namespace(
        requests=requests, workers=8, rate=4.0, gateways=gateways, tell=0.1, cache=6000, seed=1
    )
    return simulate(arguments, policy, workload, Tuning())


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_answers_every_request(policy: str) -> None:
    """With several gateways, and workers that come and go."""
    out = run(policy, "changes", requests=400, gateways=2)
    assert out.requests == 300
    assert 0 <= out.hits < 1
    assert out.wait(0.5) <= out.wait(0.99)


def test_the_same_seed_gives_the_same_outcome() -> None:
    """Nothing in it is left to chance."""
    one, other = run("ours", "conversations", requests=600), run("ours", "conversations", requests=600)
    assert (one.hits, one.wait(0.99), one.imbalance) == (other.hits, other.wait(0.99), other.imbalance)


def test_the_gateways_policy_finds_caches_and_keeps_the_balance() -> None:
    """Of conversations at least twice as much is in caches as without affinity, and nobody waits longer."""
    ours, least = run("ours", "conversations"), run("least-loaded", "conversations")
    assert ours.hits > 1.8 * least.hits
    assert ours.wait(0.99) < least.wait(0.99)
    assert ours.ejections == 0


def test_one_instruction_for_all_does_not_pin_them_to_one_worker() -> None:
    """A tree of what was sent does."""
    ours, tree = run("ours", "one instruction"), run("tree", "one instruction")
    assert ours.unevenness < 2 < tree.unevenness
    assert ours.hits > tree.hits - 0.03
