"""A batch that two gateways answer, one of which is killed."""

from pathlib import Path

import pytest
from check_batches import check


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_line_is_answered_once_whoever_dies(tmp_path: Path) -> None:
    """A random one of two gateways is killed twice; lines that were under way are computed again, no more."""
    report = await check(tmp_path, lines=400, kills=2, seed=5, delay_ms=5, lease_s=1)
    assert (report.status, report.answered, len(report.killed)) == ("completed", 400, 2), report
    assert (report.failed, report.missing, report.repeated, report.wrong) == (0, 0, 0, 0), report
    assert report.computed_twice <= 2 * 16, report
