"""The pure parts of running batches: pace, verdicts, who is alive, and what an input is."""

import asyncio
import io
import json
import math
from itertools import pairwise

import pytest

from inferloom_gateway.batching.gate import Gate, Lane
from inferloom_gateway.batching.holds import Holds
from inferloom_gateway.batching.input_file import CHUNK_BYTES, LINES, MOST_PHYSICAL_LINES, check, lines_of
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.verdict import MOST_ATTEMPTS, MOST_LATE, Verdict, again_s, judge
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
    ("status", "code", "retry_after", "attempts", "verdict"),
    [
        (200, None, None, 0, Verdict.DONE),
        (400, "context_length_exceeded", None, 0, Verdict.DONE),
        (404, "model_not_found", None, 99, Verdict.AWAY),
        (504, "timeout", None, MOST_ATTEMPTS, Verdict.AGAIN),
        (504, "timeout", None, MOST_LATE - 1, Verdict.DONE),
        (401, "invalid_api_key", None, 0, Verdict.BARRED),
        (403, "model_not_allowed", None, 0, Verdict.DONE),
        (429, "rate_limit_exceeded", 7.0, 99, Verdict.LIMITED),
        (429, "rate_limit_exceeded", None, 0, Verdict.DONE),
        (503, "server_overloaded", 1.0, 99, Verdict.LATER),
        (503, "no_worker", 1.0, 99, Verdict.AWAY),
        (507, "storage_full", None, 99, Verdict.AWAY),
        (503, "worker_lost", 1.0, 0, Verdict.AGAIN),
        (503, "request_barred", 30.0, 0, Verdict.DONE),
        (500, "server_error", None, MOST_ATTEMPTS - 2, Verdict.AGAIN),
        (500, "server_error", None, MOST_ATTEMPTS - 1, Verdict.DONE),
    ],
)
def test_what_becomes_of_an_answer(
    status: int, code: str | None, retry_after: float | None, attempts: int, verdict: Verdict
) -> None:
    """What passes: as often as it takes, if ever. A fault: a few times. Anything else stands."""
    assert judge(status, code, retry_after, attempts) is verdict


def test_a_line_that_was_refused_for_what_others_asked_is_asked_again() -> None:
    """A few times: the one that asked the same may be acquitted meanwhile."""
    for attempts, verdict in ((0, Verdict.AGAIN), (MOST_ATTEMPTS - 1, Verdict.DONE)):
        assert judge(503, "request_barred", 30.0, attempts, tried=False) is verdict


def test_a_line_that_met_a_fault_waits_for_as_long_as_it_was_told() -> None:
    """Within bounds, and longer each time."""
    assert [again_s(None, 1), again_s(1.0, 2), again_s(30.0, 1), again_s(1e9, 2)] == [1.0, 2.0, 30.0, 60.0]


def test_what_is_refused_again_is_left_alone_longer() -> None:
    """Refusals meanwhile count once, one that was taken begins anew, and nothing is kept for good."""
    holds = Holds()
    for _ in range(5):
        holds.refused("a", 0, None)
    assert (holds.until("a", 0), holds.names(0), holds.held("b", 0)) == (0.5, ["a"], False)
    holds.refused("a", 1, None)
    assert holds.until("a", 1) == 2
    holds.good("a")
    holds.refused("a", 10, 7)
    assert holds.until("a", 10) == 17
    holds.refused("a", 20, 10_000)
    assert holds.names(79) == ["a"]
    holds.hold("a", 70)
    assert (holds.until("a", 60), holds.names(81)) == (80, [])
    assert holds.names(1000) == []


async def test_turns_are_shared_by_tenants_and_their_batches() -> None:
    """Whoever came first has no more than a fair share of what gets free."""
    pace = Pace(4)
    gate, order, ends = Gate(pace, lambda: 0.0), list[Lane](), asyncio.Event()

    async def line(lane: Lane) -> None:
        async with gate.turn(lane):
            order.append(lane)
            await ends.wait()
            await asyncio.sleep(0.001)

    lanes = [("a", "1")] * 20 + [("a", "2")] * 20 + [("b", "3")] * 20
    tasks = [asyncio.create_task(line(lane)) for lane in lanes]
    await asyncio.sleep(0)
    tasks[30].cancel()
    ends.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order[:4] == [("a", "1")] * 4
    taken = order[4:24]
    assert 8 <= taken.count(("b", "3")) <= 14
    assert taken.count(("a", "2")) >= 2
    assert (len(order), pace.running) == (59, 0)


def test_a_runner_that_says_nothing_new_is_silent() -> None:
    """After a lease by the watcher's clock, from when it was first seen; one that is gone is forgotten."""
    watch = Watch(10)
    assert watch.silent({"a": 1, "b": 5}, 100) == []
    assert watch.silent({"a": 2, "b": 5}, 109) == []
    assert watch.silent({"a": 2, "b": 5}, 110) == ["b"]
    assert watch.silent({"a": 2}, 110) == []
    assert watch.silent({"a": 3, "b": 5}, 200) == []


def test_chunks_cover_an_input_exactly() -> None:
    """Whatever empty lines, long ones, line ends and marks there are, each request is in one chunk."""
    lines = []
    for n in range(100):
        body = {"model": "m", "text": "x" * (2**19 if n % 30 == 0 else 1)}
        lines.append(json.dumps({"custom_id": str(n), "method": "POST", "url": CHAT, "body": body}))
        if n % 7 == 0:
            lines += ["", "  "]
    for data in ("\n".join(lines), "\r\n".join(lines) + "\r\n\r\n", "\ufeff" + "\n".join(lines)):
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


def test_empty_lines_make_no_large_chunk() -> None:
    """However many there are between two requests; too many are refused."""
    one = json.dumps({"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m"}}).encode()
    blank = b" " * 999 + b"\n"
    file = io.BytesIO(blank * 3000 + one + b"\n" + blank * 3000 + one.replace(b'"a"', b'"b"'))
    found = check(file, "b", CHAT, 1000)
    assert max(chunk.size for chunk in found.chunks) <= CHUNK_BYTES + 1000
    assert [chunk.number for chunk in found.chunks] == [0, 1]
    requests = [(n, asked["custom_id"]) for chunk in found.chunks for n, asked in lines_of(file, chunk)]
    assert requests == [(3001, "a"), (6002, "b")]
    found = check(io.BytesIO(one + b"\n" * (MOST_PHYSICAL_LINES + 1)), "b", CHAT, 1000)
    assert [error["code"] for error in found.errors] == ["too_many_lines"]


def test_a_line_that_is_nested_too_deeply_is_not_valid() -> None:
    """It could be read and not be asked."""
    asked = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m", "x": 0}}
    line = json.dumps(asked).replace(": 0", ": " + "[" * 300 + "]" * 300).encode()
    assert [error["code"] for error in check(io.BytesIO(line), "b", CHAT, 1000).errors] == ["invalid_body"]


def test_lines_may_ask_for_several_models() -> None:
    """The mesh has them all; a batch's model is then none."""
    asked = [{"custom_id": m, "method": "POST", "url": CHAT, "body": {"model": m}} for m in ("one", "other")]
    found = check(io.BytesIO("\n".join(map(json.dumps, asked)).encode()), "b", CHAT, 1000)
    assert (found.errors, found.model, found.models) == ([], None, {"one": 1, "other": 2})


def test_only_the_first_errors_are_told() -> None:
    """A file of nonsense does not become a long answer."""
    assert 100 <= len(check(io.BytesIO(b"{\n" * 5000), "b", CHAT, 1000).errors) < 110


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id": "a", "custom_id": "b", "method": "POST", "url": "/v1/files", "body": {}}',
        b'{"custom_id": "a", "method": "POST", "url": "/v1/files", "body": {"model": "a", "model": "b"}}',
        b'{"custom_id": "a", "body": {"model": "a", "messages": [{"role": "user", "r\\u006fle": "system"}]}}',
    ],
)
def test_a_line_that_can_be_read_in_two_ways_is_refused(line: bytes) -> None:
    """A key that is twice in one object, in the line or in its body, also where an escape hides it."""
    (error,) = check(io.BytesIO(line), "b", CHAT, 1000).errors
    assert (error["code"], error["line"]) == ("invalid_json_line", 1)
    assert "twice" in error["message"]
