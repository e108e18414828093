"""Reading log lines back."""

import json
from datetime import datetime

import pytest

from inferloom_cli.log_lines import entries, merged, moment_of, since

TEXT = "2026-01-01 10:00:0{0},000 INFO    inferloom.access: POST /x 200 client=127.0.0.1:5 request_id={1}"


def jsonl(second: int, request_id: str) -> str:
    """A JSON line."""
    line = {"time": f"2026-01-01T10:00:0{second}.500Z", "level": "INFO", "request_id": request_id}
    return json.dumps(line)


def test_lines_without_a_time_continue_the_entry_before() -> None:
    """A traceback stays with its line, and noise at the beginning is an entry too."""
    lines = ["noise", TEXT.format(1, "a"), "Traceback:", "  boom", TEXT.format(2, "b")]
    assert [entry.lines for entry in entries("w", lines)] == [lines[:1], lines[1:4], lines[4:]]


def test_services_are_merged_by_time() -> None:
    """And each stays in its own order."""
    gateway = entries("gateway", [TEXT.format(1, "a"), TEXT.format(4, "d")])
    worker = entries("worker-1", [TEXT.format(2, "b"), TEXT.format(3, "c")])
    assert [(e.service, e.lines[0][-1]) for e in merged([gateway, worker])] == [
        ("gateway", "a"),
        ("worker-1", "b"),
        ("worker-1", "c"),
        ("gateway", "d"),
    ]


def test_text_and_json_have_the_same_clock() -> None:
    """Text is in local time, JSON in UTC."""
    local = datetime(2026, 1, 1, 10, 0, 1).astimezone()
    assert moment_of(TEXT.format(1, "a")) == local.timestamp()
    assert moment_of(jsonl(1, "a")) == datetime.fromisoformat("2026-01-01T10:00:01.500+00:00").timestamp()
    assert moment_of("  File x") is None


@pytest.mark.parametrize("line", [TEXT.format(1, "abc"), jsonl(1, "abc")])
def test_a_request_is_found_by_its_whole_name(line: str) -> None:
    """In text and in JSON; a part of a name is another's."""
    (entry,) = entries("w", [line])
    assert entry.of_request("abc")
    assert not entry.of_request("ab")
    assert not entry.of_request("bc")


def test_a_json_line_stays_json() -> None:
    """The service becomes one of its fields."""
    (entry,) = entries("worker-1", [jsonl(1, "a")])
    (line,) = entry.shown(8)
    assert json.loads(line)["service"] == "worker-1"
    (entry,) = entries("gateway", [TEXT.format(1, "a")])
    assert list(entry.shown(8)) == ["gateway  │ " + TEXT.format(1, "a")]


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("2h", 7200), ("1.5s", 1.5), ("1d", 86400)])
def test_times_are_counted_back(text: str, seconds: float) -> None:
    """From now."""
    now = datetime(2026, 1, 2, 10, 0)
    assert now.timestamp() - since(text, now) == seconds


def test_times_can_be_dates() -> None:
    """In local time where nothing else is said."""
    now = datetime(2026, 1, 2, 10, 0)
    assert since("2026-01-01 10:00", now) == datetime(2026, 1, 1, 10).timestamp()
    for text in ("soon", "99999999999d", "9999999d"):
        with pytest.raises(ValueError, match=f"'{text}' is neither"):
            since(text, now)
