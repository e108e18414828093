"""Faults of real processes under load: what they may cost, and what they may not."""

import asyncio
import sys
from pathlib import Path

import pytest
from faults import inflict

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 4

SILENCE_S = 11.0
"""A stall is found within 8 s; the rest is for a machine that is busy with other things."""


@pytest.mark.parametrize("kind", ["kill", "hang", "restart"])
def test_a_workers_fault_costs_no_request_that_its_client_has_seen_nothing_of(kind: str) -> None:
    """No call without a stream, and no stream before its first text."""
    result = asyncio.run(inflict(Path(sys.executable), "worker", kind, CLIENTS))
    assert (result.calls.lost_before, result.calls.lost_midway, result.streams.lost_before) == (0, 0, 0)
    assert result.streams.silence_s < SILENCE_S
    assert result.calls.answered > CLIENTS
    if kind == "restart":
        assert result.streams.lost_midway == 0


def test_a_registry_that_is_killed_costs_nothing() -> None:
    """Requests do not notice."""
    result = asyncio.run(inflict(Path(sys.executable), "registry", "kill", CLIENTS))
    lost = (result.calls, result.streams)
    assert [tally.lost_before + tally.lost_midway for tally in lost] == [0, 0]
