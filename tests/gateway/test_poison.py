"""A request that ends workers is known when it is asked again, whoever asked it first."""

import random

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.poison import (
    BARRED_S,
    KEPT_S,
    LONGEST_BARRED_S,
    MOST,
    MOST_OF_TENANT,
    PAROLE_S,
    Loss,
    Poison,
    digest,
)
from inferloom_gateway.calls.suspects import Blame, Suspects
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.errors import InferloomError, Reason


class Clock:
    """A time that tests change."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_asked_tells_requests_apart() -> None:
    """And not how they are called, or how far they had come."""
    asked = pb.GenerateRequest(model="m", text="a", request_id="1")
    again = pb.GenerateRequest(model="m", text="a", request_id="2")
    again.resume.prompt_token_ids.append(1)
    others = [
        pb.GenerateRequest(model="m", text="b"),
        pb.GenerateRequest(model="n", text="a"),
        pb.GenerateRequest(model="m", text="a", sampling=pb.SamplingOptions(seed=1)),
        pb.EmbedRequest(model="m"),
        pb.TokenizeRequest(model="m", text="a"),
    ]
    assert digest(asked) == digest(again)
    assert len({digest(each) for each in (asked, *others)}) == 1 + len(others)
    assert (asked.request_id, again.HasField("resume")) == ("1", True)


def test_one_loss_makes_a_suspect_and_two_bar_it_for_longer_each_time(clock: Clock) -> None:
    """When its time is over, one is let in, and no other for a while."""
    poison = Poison(clock)
    assert poison.standing("t", b"r") == (0, 0.0)
    poison.lost("t", b"r", ["a:1"])
    assert poison.standing("t", b"r") == (1, 0.0)
    assert poison.lost("t", b"r", ["a:1"]) == 1
    for losses in range(2, 9):
        assert poison.lost("t", b"r", [f"w:{losses}"]) == losses
        barred = min(BARRED_S * 2 ** (losses - 2), LONGEST_BARRED_S)
        assert poison.standing("t", b"r") == (losses, barred)
        clock.now += barred
        assert poison.standing("t", b"r") == (losses, 0.0)
        assert poison.standing("t", b"r") == (losses, PAROLE_S)
    clock.now += KEPT_S
    assert poison.standing("t", b"r") == (0, 0.0)
    assert not poison.concerns("t")


def test_a_tenant_bars_no_request_of_anothers(clock: Clock) -> None:
    """Whatever it asks, and however much of it: what is remembered of the other stays."""
    poison = Poison(clock)
    poison.lost("other", b"r", ["a:1", "b:1"])
    for number in range(2 * MOST_OF_TENANT):
        poison.lost("t", number.to_bytes(4, "big"), ["a:1", "b:1"])
    assert poison.standing("other", b"r")[0] == 2
    assert poison.standing("other", (2 * MOST_OF_TENANT - 1).to_bytes(4, "big")) == (0, 0.0)
    assert poison.standing("t", (2 * MOST_OF_TENANT - 1).to_bytes(4, "big"))[0] == 2
    assert poison.standing("t", (0).to_bytes(4, "big")) == (0, 0.0)
    assert not poison.concerns("third")


def test_it_is_bounded(clock: Clock) -> None:
    """However many tenants there are, and however many workers."""
    poison = Poison(clock)
    for number in range(MOST + 9):
        poison.lost(f"t{number}", b"r", ["a:1"])
    assert sum(poison.concerns(f"t{number}") for number in range(MOST + 9)) <= MOST
    assert len(poison.unshared) == MOST
    assert poison.lost("t", b"r", [f"w:{number}" for number in range(99)]) < 10


def test_processes_hear_of_each_others_losses(clock: Clock) -> None:
    """Each adds its own; who is acquitted is so for all; a time in the future is none."""
    one, two = Poison(clock), Poison(clock)
    one.lost("t", b"r", ["a:1"])
    two.hear(one.unshared)
    assert two.lost("t", b"r", ["b:1"]) == 2
    one.hear([*one.unshared, *two.unshared])
    assert one.standing("t", b"r") == (2, BARRED_S)
    one.acquit("t", b"r", most=1)
    assert one.concerns("t")
    one.acquit("t", b"r")
    two.unshared.clear()
    two.hear(one.unshared)
    assert not one.concerns("t")
    assert not two.concerns("t")
    two.hear([Loss("t", b"r", worker, clock.now + 3600) for worker in ("a:1", "b:1")])
    assert two.standing("t", b"r") == (2, BARRED_S)
    two.hear([Loss("t", b"r", "a:1", clock.now - KEPT_S - 1)])
    assert not two.concerns("t")


def test_what_is_old_is_forgotten(clock: Clock) -> None:
    """Also where nobody asks for it again."""
    poison = Poison(clock)
    poison.lost("t", b"r", ["a:1"])
    clock.now += KEPT_S / 2
    poison.lost("u", b"r", ["a:1"])
    clock.now += KEPT_S / 2 + 1
    poison.expire()
    assert (poison.concerns("t"), poison.concerns("u")) == (False, True)


@pytest.mark.parametrize("seed", range(20))
def test_however_it_is_told_everybody_knows_the_same(clock: Clock, seed: int) -> None:
    """Three processes note, acquit, write and hear in any order; at the end they agree."""
    rng = random.Random(seed)
    processes = [Poison(clock) for _ in range(3)]
    rows: dict[tuple[str, bytes, str], Loss] = {}

    def look(poison: Poison) -> None:
        while poison.unshared:
            loss = poison.unshared.popleft()
            if loss.worker:
                rows[loss[:3]] = loss
            else:
                for key in [each for each in rows if each[:2] == loss[:2]]:
                    del rows[key]
        poison.hear(sorted(rows.values(), key=lambda each: each.at))

    for _ in range(200):
        clock.now += rng.random()
        poison, request = rng.choice(processes), rng.choice([b"r", b"s"])
        match rng.randrange(4):
            case 0:
                poison.lost("t", request, [f"w{rng.randrange(4)}:1"])
            case 1:
                poison.acquit("t", request, most=rng.choice([1, MOST]))
            case _:
                look(poison)
    for poison in [*processes, *processes]:
        look(poison)
    clock.now += PAROLE_S  # who was let in is known to one alone
    assert len({tuple(poison.standing("t", each) for each in (b"r", b"s")) for poison in processes}) == 1


def suspicion(poison: Poison, tenant: str = "t", text: str = "a") -> Suspicion:
    """That of one request."""
    return Suspicion(Suspects(), poison, tenant, pb.GenerateRequest(text=text), "name")


def test_a_request_that_is_asked_again_begins_where_it_was(clock: Clock) -> None:
    """It ends at most two workers, in whatever parts; then it is refused, with the time to wait."""
    poison = Poison(clock)
    first = suspicion(poison)
    first.begin()
    first.lost(Member("a", "a:1"), 0.0)
    assert not first.over
    again = suspicion(poison)
    again.begin()
    assert not again.over
    assert again.barred() is None
    again.lost(Member("b", "b:1"), 1.0)
    assert again.over
    told = again.barred()
    assert told is not None
    assert (told.reason, told.retry_after) == (Reason.REQUEST_BARRED, BARRED_S)
    third = suspicion(poison)
    with pytest.raises(InferloomError) as caught:
        third.begin()
    assert (caught.value.reason, caught.value.retry_after) == (Reason.REQUEST_BARRED, BARRED_S)
    suspicion(poison, text="b").begin()
    suspicion(poison, tenant="u").begin()
    clock.now += BARRED_S
    paroled = suspicion(poison)
    paroled.begin()
    paroled.lost(Member("c", "c:1"), 2.0)
    assert paroled.over


def test_a_token_acquits_of_one_loss_and_an_answer_of_all(clock: Clock) -> None:
    """What ends workers behind its first token is not acquitted by that."""
    poison = Poison(clock)
    first = suspicion(poison)
    first.begin()
    first.lost(Member("a", "a:1"), 0.0)
    first.token()
    assert not poison.concerns("t")
    first.lost(Member("b", "b:1"), 1.0)
    assert first.over
    clock.now += BARRED_S
    paroled = suspicion(poison)
    paroled.begin()
    paroled.token()
    assert poison.concerns("t")
    paroled.answered()
    assert not poison.concerns("t")


def test_four_workers_in_all_are_remembered_and_one_more_is_the_last(clock: Clock) -> None:
    """However far it came before each, and its tokens acquit it of none of them then."""
    poison = Poison(clock)
    first = suspicion(poison)
    first.begin()
    for number in range(4):
        assert not first.over
        first.token()
        first.lost(Member(f"w{number}", f"w{number}:1"), float(number), 50 * number)
    assert first.over
    clock.now += 4 * BARRED_S
    paroled = suspicion(poison)
    paroled.begin()
    paroled.token()
    paroled.lost(Member("w4", "w4:1"), 9.0, 50)
    assert paroled.over
    told = paroled.barred()
    assert told is not None
    assert told.retry_after == 8 * BARRED_S


def test_one_worker_that_dies_with_many_alike_is_one_loss(clock: Clock) -> None:
    """However many it had."""
    poison, lost = Poison(clock), Member("a", "a:1")
    every = [suspicion(poison) for _ in range(9)]
    for each in every:
        each.begin()
    for each in every:
        each.lost(lost, 0.0)
    assert not any(each.over for each in every)
    suspicion(poison).begin()


def test_a_request_that_was_answered_leaves_no_mark(clock: Clock) -> None:
    """Whoever is lost there later bears it alone."""
    suspects = Suspects()
    answered = Suspicion(suspects, Poison(clock), "t", pb.TokenizeRequest(text="a"), "name")
    lost, worker = Member("a", "a:1"), Member("b", "b:1")
    answered.enter(lost, 0.0)
    answered.lost(lost, 0.0)
    answered.enter(worker, 0.0)
    answered.leave()
    answered.token()
    suspects.mark(worker, "killer")
    assert suspects.lost(worker, "killer", 1.0) is Blame.OWN
