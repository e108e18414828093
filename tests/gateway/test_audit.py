"""The audit log."""

import json
from pathlib import Path

import pytest

from inferloom_mesh.audit import REFUSALS_PER_S, Audit, audit_at
from inferloom_mesh.errors import InferloomError, Reason


def test_lines_are_added_and_bounded(tmp_path: Path) -> None:
    """Two writers share a file, which only its owner may read; of many refusals the number is written."""
    now = 0.0
    file = tmp_path / "audit.jsonl"
    one, other = Audit(file, lambda: now), Audit(file, lambda: now)
    one.done("model.load", "operator/anna", model="chat\n{", worker="w1")
    other.done("key.revoke", "user:root", key="1f2e")
    refusal = InferloomError(Reason.NOT_A_PEER, "No.")
    for _ in range(REFUSALS_PER_S + 30):
        one.refused("/x/Drain" * 100, "ipv4:1.2.3.4:5", refusal)
    now = 1.5
    one.refused("/x/Drain", "ipv4:1.2.3.4:5", refusal)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [line["event"] for line in lines[:3]] == ["model.load", "key.revoke", "refused"]
    assert lines[0]["model"] == "chat\n{"
    assert lines[2]["reason"] == "NOT_A_PEER"
    assert len(lines[2]["what"]) <= 100
    assert len(lines) == 2 + REFUSALS_PER_S + 2
    assert lines[-2]["event"] == "refused.more"
    assert lines[-2]["count"] == 30
    for each in (one, other):
        each.close()
    assert audit_at(None) is None
    with pytest.raises(OSError, match=r"the audit log .* cannot be written"):
        Audit(tmp_path / "none" / "audit.jsonl")
