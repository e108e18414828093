"""The pure parts of running batches: pace, verdicts, who is alive, and what an input is."""

import io
import json
import math
from itertools import pairwise

import pytest

from inferloom_gateway.batching.input_file import LINES, check, lines_of
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.verdict import MOST_ATTEMPTS, Verdict, judge
from inferloom_gateway.storage.runners import Watch

CHAT = "/v1/chat/completions"


def test_the_pace_halves_when_there_is_no_room_and_comes_back() -> None:
    """Refusals of the same moment count once, the pause grows with each next, and success heals both."""
    pace = Pace(16)
    assert pace.wait(0) == 0
    for _ in range(5):
        pace.refused(0, None)
    assert (pace.limit, pace.wait(0), pace.wait(0.5)) == (8, 0.5, 0)
    pace.refused(1, None)
    assert (pace.limit, pace.wait(1)) == (4, 1)
    pace.refused(3, 7)
    assert (pace.limit, pace.wait(3), pace.wait(10)) == (2, 7, 0)
    pace.running = 2
    assert math.isinf(pace.wait(10))
    for _ in range(200):
        pace.good()
    assert pace.limit == 16
    for moment in range(1000, 2000, 50):
        pace.refused(moment, None)
    assert (pace.limit, pace.wait(1950)) == (1, 30)


@pytest.mark.parametrize(
    ("status", "code", "attempts", "verdict"),
    [
        (200, None, 0, Verdict.DONE),
        (400, "context_length_exceeded", 0, Verdict.DONE),
        (404, "model_not_found", 0, Verdict.DONE),
        (429, "rate_limit_exceeded", 99, Verdict.LATER),
        (503, "server_overloaded", 99, Verdict.LATER),
        (503, "no_worker", 99, Verdict.LATER),
        (507, "storage_full", 99, Verdict.LATER),
        (503, "worker_lost", 0, Verdict.AGAIN),
        (500, "server_error", MOST_ATTEMPTS - 2, Verdict.AGAIN),
        (500, "server_error", MOST_ATTEMPTS - 1, Verdict.DONE),
    ],
)
def test_what_becomes_of_an_answer(status: int, code: str | None, attempts: int, verdict: Verdict) -> None:
    """No room: as often as it takes. A fault: a few times. Anything else stands."""
    assert judge(status, code, attempts) is verdict


def test_a_runner_that_says_nothing_new_is_silent() -> None:
    """After a lease by the watcher's clock, from when it was first seen; one that is gone is forgotten."""
    watch = Watch(10)
    assert watch.silent({"a": 1, "b": 5}, 100) == []
    assert watch.silent({"a": 2, "b": 5}, 109) == []
    assert watch.silent({"a": 2, "b": 5}, 110) == ["b"]
    assert watch.silent({"a": 2}, 110) == []
    assert watch.silent({"a": 3, "b": 5}, 200) == []


def test_chunks_cover_an_input_exactly() -> None:
    """Whatever empty lines, long ones and line ends there are, each request is in one chunk."""
    lines = []
    for n in range(100):
        body = {"model": "m", "text": "x" * (2**19 if n % 30 == 0 else 1)}
        lines.append(json.dumps({"custom_id": str(n), "method": "POST", "url": CHAT, "body": body}))
        if n % 7 == 0:
            lines += ["", "  "]
    for data in ("\n".join(lines), "\r\n".join(lines) + "\r\n\r\n"):
        file = io.BytesIO(data.encode())
        found = check(file, "b", CHAT, 2**20)
        assert (found.errors, found.model) == ([], "m")
        assert sum(chunk.lines for chunk in found.chunks) == 100
        assert max(chunk.lines for chunk in found.chunks) <= LINES
        requests = [each for chunk in found.chunks for each in lines_of(file, chunk)]
        assert [asked["custom_id"] for _, asked in requests] == [str(n) for n in range(100)]
        assert [json.loads(lines[number - 1]) for number, _ in requests] == [asked for _, asked in requests]
        ends = [(chunk.begins, chunk.begins + chunk.size) for chunk in found.chunks]
        assert all(end == begin for (_, end), (begin, _) in pairwise(ends))


def test_lines_may_ask_for_several_models() -> None:
    """The mesh has them all; a batch's model is then none."""
    asked = [{"custom_id": m, "method": "POST", "url": CHAT, "body": {"model": m}} for m in ("one", "other")]
    found = check(io.BytesIO("\n".join(map(json.dumps, asked)).encode()), "b", CHAT, 1000)
    assert (found.errors, found.model, found.models) == ([], None, {"one", "other"})


def test_only_the_first_errors_are_told() -> None:
    """A file of nonsense does not become a long answer."""
    assert 100 <= len(check(io.BytesIO(b"{\n" * 5000), "b", CHAT, 1000).errors) < 110
