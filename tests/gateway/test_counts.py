"""Counts in memory: buckets that come and go, several asks at once, and what is charged for a request."""

import asyncio
import fcntl
import mmap
import os
from pathlib import Path

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.api_key import Limits
from inferloom_gateway.access.limits import local_counts
from inferloom_gateway.access.limits.cost import Cost, cost_of
from inferloom_gateway.access.limits.counts import Ask, Counts, CountsAwayError, Level, Refused, Taken
from inferloom_gateway.access.limits.local_counts import LocalCounts, make_shared
from inferloom_gateway.access.standing import headers_of, refusal, spelled
from inferloom_mesh.errors import Reason

FEW = [Ask("key:a", Limits(2, 100)), Ask("tenant:t", Limits(3))]


class Clock:
    """A clock that is set."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


async def taken(counts: Counts, asks: list[Ask], tokens: int = 0) -> Taken:
    """Take what must be had."""
    answer = await counts.take(asks, tokens, enters=True)
    assert isinstance(answer, Taken)
    return answer


async def refused(counts: Counts, asks: list[Ask], tokens: int = 0) -> Refused:
    """Take what cannot be had."""
    answer = await counts.take(asks, tokens, enters=True)
    assert isinstance(answer, Refused)
    return answer


async def test_all_asks_are_counted_or_none() -> None:
    """What one bucket refuses, the others have not counted."""
    counts = LocalCounts.private(Clock())
    await taken(counts, FEW)
    await taken(counts, FEW)
    assert (await refused(counts, FEW)).ask == FEW[0]
    last = await taken(counts, [FEW[1]])
    assert last.levels[0].requests == 3


async def test_settling_gives_back_the_last_reservation_first() -> None:
    """And whatever a request was let in with, at its end what it used is counted."""
    counts = LocalCounts.private(Clock())
    asks = [FEW[0]]
    first = await taken(counts, asks, 30)
    more = await counts.take(asks, 30, enters=False)
    assert isinstance(more, Taken)
    counts.settle(asks, [first, more], 20)
    assert (await taken(counts, asks, 80)).levels[0].tokens == 100


async def test_idle_buckets_give_their_rows_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute, and not while something runs; until then there may be no row for another one."""
    monkeypatch.setattr(local_counts, "ROWS", 4)
    monkeypatch.setattr(local_counts, "_PROBES", 4)
    clock = Clock()
    counts = LocalCounts.private(clock)
    for number in range(4):
        asks = [Ask(f"key:{number}", Limits(9, None, 9))]
        one = await taken(counts, asks)
        if number:
            counts.settle(asks, [one], 0)
    with pytest.raises(CountsAwayError):
        await counts.take([Ask("key:new", Limits(1))], 0, enters=True)
    clock.now += 61
    for number in range(3):
        await taken(counts, [Ask(f"key:new {number}", Limits(1))])
    with pytest.raises(CountsAwayError):
        await counts.take([Ask("key:newest", Limits(1))], 0, enters=True)
    assert (await refused(counts, [Ask("key:0", Limits(9, None, 1))])).kind == "concurrent"


@pytest.mark.parametrize("later_s", [0, 61])
async def test_buckets_of_one_request_get_rows_of_their_own(later_s: int) -> None:
    """Also where both look for one at the same place, and where the first one's has been idle."""
    clock = Clock()
    counts = LocalCounts.private(clock)
    key, tenant = (Ask(bucket, Limits(None, None, 1)) for bucket in ("key:0", "tenant:t3010"))
    if later_s:
        counts.settle([key], [await taken(counts, [key])], 0)
        clock.now += later_s
    for _ in range(3):
        counts.settle([key, tenant], [await taken(counts, [key, tenant])], 0)
    assert (await taken(counts, [key])).levels[0].requests == 4


async def test_processes_share_a_file(tmp_path: Path) -> None:
    """Two that have it open count together; one that comes anew runs nothing."""
    make_shared(tmp_path / "counts")
    one, two = (LocalCounts.shared(tmp_path / "counts", seat) for seat in (0, 1))
    asks = [Ask("key:a", Limits(5, None, 2))]
    await taken(one, asks)
    await taken(two, asks)
    assert (await refused(one, asks)).kind == "concurrent"
    again = LocalCounts.shared(tmp_path / "counts", 1)
    assert (await taken(again, asks)).levels[0].requests == 3
    assert (tmp_path / "counts").stat().st_mode & 0o777 == 0o600


async def test_a_process_that_hangs_with_the_lock_holds_up_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is told so, and what ends meanwhile is settled by the next that gets through."""
    monkeypatch.setattr(local_counts, "_LOCK_LIMIT_S", 0.02)
    make_shared(tmp_path / "counts")
    one, hung = (LocalCounts.shared(tmp_path / "counts", seat) for seat in (0, 1))
    asks = [Ask("key:a", Limits(None, 100))]
    first = await taken(one, asks, 90)
    assert hung._locks()
    with pytest.raises(CountsAwayError):
        await one.take(asks, 1, enters=True)
    one.settle(asks, [first], 10)
    hung._unlock()
    other = [Ask("key:b", Limits(9))]
    one.settle(other, [await taken(one, other)], 0)
    assert (await taken(one, asks, 90)).levels[0].tokens == 100


async def test_a_process_that_waits_for_the_lock_goes_on_with_all_else(tmp_path: Path) -> None:
    """Its event loop is not held, and what it could not settle it settles when the lock is free."""
    path = tmp_path / "counts"
    make_shared(path)
    one, other = LocalCounts.shared(path, 0), LocalCounts.shared(path, 1)
    asks = [Ask("key:a", Limits(concurrent=1))]
    holder = os.open(path, os.O_RDWR)
    first = await taken(one, asks)
    fcntl.flock(holder, fcntl.LOCK_EX)
    one.settle(asks, [first], 0)
    waiting = asyncio.create_task(other.take([Ask("key:b", Limits(concurrent=1))], 0, enters=True))
    await asyncio.sleep(0)
    assert not waiting.done()
    fcntl.flock(holder, fcntl.LOCK_UN)
    assert isinstance(await waiting, Taken)
    for _ in range(500):
        if isinstance(await other.take(asks, 0, enters=True), Taken):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("what was settled while the lock was held still runs")
    os.close(holder)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system tells it otherwise")
@pytest.mark.parametrize("shared", [False, True])
async def test_the_memory_is_only_taken_where_it_is_used(tmp_path: Path, shared: bool) -> None:
    """Rows are mapped, and a start looks at no page of those that nobody has."""
    path = tmp_path / "counts"
    make_shared(path)
    before = resident()
    counts = LocalCounts.shared(path, 0) if shared else LocalCounts.private()
    await taken(counts, [Ask("key:a", Limits(9))])
    assert resident() - before < local_counts.ROWS * 4096 // 4


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.parametrize(
    ("request_", "cost"),
    [
        (pb.GenerateRequest(token_ids=pb.TokenIds(ids=[1] * 50)), Cost(50, 50, 150)),
        (
            pb.GenerateRequest(
                token_ids=pb.TokenIds(ids=[1] * 50),
                stopping=pb.StoppingOptions(max_tokens=7),
                sampling=pb.SamplingOptions(n=3),
            ),
            Cost(50, 71, 71),
        ),
        (
            pb.GenerateRequest(
                token_ids=pb.TokenIds(ids=[1] * 5), stopping=pb.StoppingOptions(max_tokens=2**31)
            ),
            Cost(5, 1005, 1005),
        ),
        (pb.EmbedRequest(inputs=[pb.EmbedInput(text="a" * 398)] * 2), Cost(202, 202, 202)),
        (pb.TokenizeRequest(text="a" * 1000), Cost(0, 0, 0)),
    ],
)
def test_what_a_request_is_charged(request_: pb.GenerateRequest, cost: Cost) -> None:
    """The prompt and max_tokens for each choice; who says nothing, a tenth of the context, here 1000."""
    assert cost_of(request_, 1000) == cost


def test_a_guess_is_not_held_against_a_request() -> None:
    """What is not asked for is reserved only as far as the limit goes."""
    cost = Cost(50, 50, 150)
    assert [cost.within(most) for most in (None, 1000, 100, 20)] == [150, 150, 100, 50]


def test_headers_tell_of_the_bucket_with_the_least_left() -> None:
    """Of requests and of tokens apart, and nothing of what is not limited."""
    asks = [Ask("key:a", Limits(10, None)), Ask("tenant:t", Limits(100, 500))]
    headers = dict(headers_of(asks, [Level(9, 0, 60.1), Level(99, 120, 8.64)]))
    assert headers == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"1",
        b"x-ratelimit-reset-requests": b"1m0.1s",
        b"x-ratelimit-limit-tokens": b"500",
        b"x-ratelimit-remaining-tokens": b"380",
        b"x-ratelimit-reset-tokens": b"8.6s",
    }


def test_durations_are_spelled_as_openai_does() -> None:
    """In milliseconds below a second, in minutes from one on."""
    assert [spelled(s) for s in (0, 0.12, 1, 59.96, 61.5, 360)] == [
        "0ms",
        "120ms",
        "1s",
        "1m0s",
        "1m1.5s",
        "6m0s",
    ]


def test_refusals_say_what_there_is_too_much_of() -> None:
    """With the reason whose type OpenAI's clients know, and how long to wait."""
    ask = Ask("key:abc", Limits(3, 50, 1))
    error = refusal(Refused(ask, "requests", 3, 20.0, []), 0)
    assert (error.reason, error.retry_after) == (Reason.RATE_LIMIT_EXCEEDED, 20.0)
    assert "key abc on requests per min (RPM): Limit 3, Used 3, Requested 1" in error.message
    error = refusal(Refused(ask, "tokens", 45, 8.0, []), 10)
    assert error.reason is Reason.TOKEN_LIMIT_EXCEEDED
    assert "Used 45, Requested 10. Please try again in 8s." in error.message
    error = refusal(Refused(ask, "tokens", 0, None, []), 60)
    assert error.retry_after is None
    assert "never" in error.message
    assert "concurrent" in refusal(Refused(ask, "concurrent", 1, None, []), 0).message
