"""Faults of real processes under load: what they may cost, and what they may not."""

import asyncio
from pathlib import Path

import pytest
from faulting.suite import Ground, Seen, load_rows

from tests.wire.etcd_needed import needs_etcd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 4
ROWS = load_rows()


def inflict(name: str, folder: Path) -> Seen:
    """Run one row of the suite."""

    async def run() -> Seen:
        return await ROWS[name].inflict(Ground(folder=folder, clients=CLIENTS))

    return asyncio.run(run())


@pytest.mark.parametrize(
    "name",
    [
        "worker killed (SIGKILL), started again after 3 s",
        "worker stopped (SIGSTOP) for 25 s",
        "connections to workers reset, every 2 s",
    ],
)
def test_a_workers_fault_costs_no_request_that_its_client_has_seen_nothing_of(
    name: str, tmp_path: Path
) -> None:
    """No call without a stream, and no stream before its first text."""
    seen = inflict(name, tmp_path)
    assert seen.failed == seen.midway, seen.errors
    assert seen.answered > CLIENTS


@pytest.mark.parametrize(
    "name",
    [
        "worker paused (SIGSTOP) for 3 s",
        "all workers restarted one after another (SIGTERM)",
        "registry killed for 10 s, while a worker restarts",
        "registry cut off from all workers for 20 s",
        "200 ± 50 ms latency on every connection",
    ],
)
def test_what_is_no_loss_of_a_worker_costs_nothing(name: str, tmp_path: Path) -> None:
    """Nothing fails and nobody is ejected."""
    seen = inflict(name, tmp_path)
    assert (seen.failed, seen.wrong) == (0, ()), seen.errors


@needs_etcd
@pytest.mark.parametrize(
    "name",
    [
        "etcd's leader killed, for 10 s",
        "etcd's quorum lost for 30 s",
        "etcd compacted while a registry's watch is broken",
        "one of two registries killed for 25 s",
        "both registries restarted in turn",
        "time of day moved by an hour, each way, on every kind of part",
    ],
)
def test_registries_that_share_an_etcd_lose_no_request_and_no_lease(name: str, tmp_path: Path) -> None:
    """Whatever befalls one of them, or etcd: nothing fails, and every lease is as it was."""
    seen = inflict(name, tmp_path)
    assert (seen.failed, seen.wrong) == (0, ()), seen.errors
    assert not ROWS[name].missed(seen)


@pytest.mark.parametrize(
    "name",
    [
        "the same by gRPC: a gateway killed (SIGKILL) under 16 resumable generations of two choices",
        "a gateway killed (SIGKILL) under 16 resumable completions of three prompts",
        "two workers killed in turn under 12 streams, beside one that computes differently",
        "a worker over its memory limit, and killed by the kernel for it",
    ],
)
def test_what_goes_on_elsewhere_is_whole(name: str, tmp_path: Path) -> None:
    """Where somebody computes alike; where nobody does, its client is told."""
    seen = inflict(name, tmp_path)
    assert (seen.failed, seen.wrong) == (0, ()), seen.errors
