"""Generations of every kind outlive their workers, on real processes with the real demo model."""

from pathlib import Path

import pytest
from faulting.rows.migration import PLAN, deaths
from faulting.suite import Ground


@pytest.mark.slow
async def test_no_stream_is_lost_or_wrong_when_its_worker_dies(tmp_path: Path) -> None:
    """A worker is killed at random moments under sixteen of them. How long they pause depends on what else
    the machine has to do, and is for the fault suite to say."""
    async with Ground(folder=tmp_path).mesh(PLAN) as mesh:
        seen = await deaths(mesh, 3)
    assert (seen.failed, seen.errors) == (0, {})
    assert "nothing moved" not in seen.wrong
