"""One request's way past its limits, from its first call to its end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.admission import Admission, ClosedKeys, Settling
from inferloom_gateway.access.api_key import Limits
from inferloom_gateway.access.limits.counts import (
    Ask,
    CountsAwayError,
    Level,
    Refused,
    Taken,
    corrections,
)
from inferloom_gateway.calls.records import Attempt, Record
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason

ASKS = [Ask("key:k", Limits(5, 1000)), Ask("model:m", Limits(None, 300))]
LEVELS = [Level(1, 50, 60.0), Level(1, 50, 60.0)]


class Scripted:
    """Counts that answer as they are told, and remember what they were asked."""

    def __init__(self, *answers: Refused | CountsAwayError) -> None:
        self.answers = list(answers)
        self.taken: list[tuple[int, bool]] = []
        self.settled: list[tuple[int, int]] = []

    async def take(self, asks: Sequence[Ask], tokens: int, *, enters: bool) -> Taken | Refused:
        await asyncio.sleep(0)  # as one that is asked over a network
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, CountsAwayError):
                raise answer
            return answer
        self.taken.append((tokens, enters))
        return Taken(7, tokens, LEVELS)

    def settle(self, asks: Sequence[Ask], taken: Sequence[Taken], used: int) -> None:
        self.settled.append((sum(each.tokens for each in taken), used))


class Meter:
    """Takes note of usage."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, int]] = []

    def add(self, key: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.rows.append((key, prompt_tokens, completion_tokens))


def admission(counts: Scripted, asks: Sequence[Ask] = ASKS) -> tuple[Admission, Meter, ClosedKeys]:
    """One, with who is told of it."""
    meter, closed = Meter(), ClosedKeys()
    usage: Any = meter
    return Admission(counts, asks, "k", 2000, usage, closed), meter, closed


def generate(max_tokens: int | None = None) -> pb.GenerateRequest:
    """A prompt of ten tokens."""
    return pb.GenerateRequest(
        token_ids=pb.TokenIds(ids=[1] * 10), stopping=pb.StoppingOptions(max_tokens=max_tokens)
    )


def record(one: Admission, **more: Any) -> Record:
    """The record of its request, which a worker has accepted."""
    made = Record(CallContext("r"), "generate", "m", 0.0, one)
    made.attempts.append(Attempt("w", 1, (), 0.0, accepted_s=0.1))
    for name, value in more.items():
        setattr(made, name, value)
    return made


async def test_a_request_of_several_calls_enters_once_and_reserves_for_each() -> None:
    """Also where they begin at the same time; at the end what all used is counted."""
    counts = Scripted()
    one, meter, _ = admission(counts)
    await asyncio.gather(*(one.admit(generate(20)) for _ in range(3)))
    assert counts.taken == [(30, True), (30, False), (30, False)]
    Settling().on_ended(record(one, prompt_tokens=33, completion_tokens=7))
    assert counts.settled == [(90, 40)]
    assert meter.rows == [("k", 33, 7)]
    names = [name for name, _ in one.headers]
    assert names.count(b"x-ratelimit-remaining-tokens") == 1


async def test_what_came_to_nothing_costs_nothing() -> None:
    """What was reserved for it is there for the next call, and only more than that is asked for; what the
    prompt costs in the end is that of the calls which were made."""
    counts = Scripted()
    one, meter, _ = admission(counts)
    for tokens in (20, 20, 15, 40):
        await one.admit(generate(tokens))
        one.give_back(generate(tokens))
    await one.admit(generate(50))
    assert counts.taken == [(30, True), (20, False), (10, False)]
    assert one.reserved_tokens == 60
    one.settle(record(one, cancelled=True, delivered=5))
    assert counts.settled == [(60, 15)]
    assert meter.rows == [("k", 10, 5)]


async def test_a_guess_at_an_answer_fits_the_tightest_limit() -> None:
    """A tenth of the context is 200; with one of 100 tokens a minute, 100 are reserved."""
    counts = Scripted()
    one, _, _ = admission(counts, [Ask("key:k", Limits(None, 100)), ASKS[1]])
    await one.admit(generate())
    assert counts.taken == [(100, True)]


@pytest.mark.parametrize(
    ("more", "used"),
    [
        ({"cancelled": True, "delivered": 5}, (10, 5)),
        ({"error": InferloomError(Reason.WORKER_LOST, "Lost."), "delivered": 2}, (10, 2)),
        ({"error": InferloomError(Reason.NO_WORKER, "None."), "attempts": []}, (0, 0)),
    ],
)
async def test_what_did_not_come_to_its_end_counts_as_far_as_it_went(
    more: dict[str, Any], used: tuple[int, int]
) -> None:
    """The prompt once a worker had it, and what was sent."""
    counts = Scripted()
    one, meter, _ = admission(counts)
    await one.admit(generate(20))
    one.settle(record(one, **more))
    assert meter.rows == [("k", *used)]
    assert counts.settled == [(30, sum(used))]


async def test_what_was_refused_is_not_settled() -> None:
    """Neither in the limits nor in the usage."""
    counts = Scripted(Refused(ASKS[1], "tokens", 290, 3.0, LEVELS))
    one, meter, closed = admission(counts)
    with pytest.raises(InferloomError) as caught:
        await one.admit(generate(20))
    assert (caught.value.reason, caught.value.retry_after) == (Reason.TOKEN_LIMIT_EXCEEDED, 3.0)
    one.settle(record(one, error=caught.value, attempts=[]))
    assert not counts.settled
    assert not meter.rows
    assert closed.closed("k") is None  # another request, of fewer tokens, may fit


async def test_a_key_without_requests_is_closed_until_it_has_some() -> None:
    """Or until other limits may hold; a model's limit closes no key."""
    counts = Scripted(
        Refused(ASKS[0], "requests", 5, 9.0, LEVELS), Refused(ASKS[1], "requests", 5, 9.0, LEVELS)
    )
    one, _, closed = admission(counts)
    with pytest.raises(InferloomError):
        await one.admit(generate(20))
    found = closed.closed("k")
    assert found is not None
    assert found[0].reason is Reason.RATE_LIMIT_EXCEEDED
    assert found[0].retry_after is not None
    assert 8 < found[0].retry_after <= 9
    assert closed.closed("another") is None
    closed.clear()
    assert closed.closed("k") is None
    with pytest.raises(InferloomError):
        await one.admit(generate(20))
    assert closed.closed("k") is None


async def test_who_cannot_count_lets_nobody_in() -> None:
    """The caller is told to come again, and that it is not his fault."""
    one, _, _ = admission(Scripted(CountsAwayError("Redis does not answer")))
    with pytest.raises(InferloomError) as caught:
        await one.admit(generate(20))
    assert caught.value.reason is Reason.SERVER_OVERLOADED


async def test_without_limits_only_usage_is_counted() -> None:
    """Nobody is asked for room."""
    counts = Scripted()
    one, meter, _ = admission(counts, [])
    await one.admit(generate(20))
    one.settle(record(one, prompt_tokens=10, completion_tokens=3))
    assert (counts.taken, counts.settled, meter.rows) == ([], [], [("k", 10, 3)])
    assert one.headers == []


@pytest.mark.parametrize(
    ("reserved", "used", "changes"),
    [
        ([30, 20], 50, []),
        ([30, 20], 60, [(2, 10)]),
        ([30, 20], 45, [(2, -5)]),
        ([30, 20], 10, [(2, -20), (1, -20)]),
        ([], 5, [(0, 5)]),
    ],
)
def test_reservations_are_corrected(reserved: list[int], used: int, changes: list[tuple[int, int]]) -> None:
    """The last one first, and never below nothing."""
    taken = [Taken(slot, tokens, []) for slot, tokens in enumerate(reserved, start=1)]
    assert list(corrections(taken, used)) == changes
