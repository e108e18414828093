"""The audit log."""

import json
import os
from pathlib import Path

import pytest

from inferloom_mesh.audit import LOOK_S, REFUSALS_PER_S, Audit, audit_at
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


def events(file: Path) -> list[str]:
    """What a file tells of."""
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize("how", ["moved", "moved, and made anew", "deleted"])
def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path, how: str) -> None:
    """Within a second; what is written until then is in the old one. So it is with several writers."""
    now = 0.0
    file, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    one, other = Audit(file, lambda: now), Audit(file, lambda: now)
    one.done("first", "me")
    file.rename(old)
    if how == "moved, and made anew":
        file.touch(0o600)
    one.done("second", "me")
    assert events(old) == ["first", "second"]
    if how == "deleted":
        old.unlink()
    now += LOOK_S
    for each in (one, other):
        each.done("third", "me")
    assert events(file) == ["third"] * 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_made_anew_is_written_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says what is wrong."""
    now = 0.0
    folder, moved = tmp_path / "audit", tmp_path / "moved"
    folder.mkdir()
    audit = Audit(folder / "audit.jsonl", lambda: now)
    folder.rename(moved)
    now += LOOK_S
    audit.done("lost", "me")
    assert events(moved / "audit.jsonl") == ["lost"]
    assert "cannot be written" in caplog.text


def test_half_a_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes some of a line; the next one begins anew."""
    file = tmp_path / "audit.jsonl"
    audit = Audit(file)
    audit.done("first", "me")
    write = os.write
    for most in (10, 0):
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda to, data, most=most: write(to, data[:most]))
            audit.done("second", "me")
    audit.done("third", "me")
    audit.done("fourth", "me")
    first, half, *rest = file.read_text().splitlines()
    assert [json.loads(line)["event"] for line in (first, *rest)] == ["first", "third", "fourth"]
    assert len(half) == 10
