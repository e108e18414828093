"""Which worker takes a request."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.member import SLOW_START_S, Member
from inferloom_gateway.fleet.router import MOST_SHOWN, Tuning
from tests.gateway.routing import Routed, crowd, honouring, placed
from tests.gateway.samples import CHAT, EMBED, change, entry, snapshot

KEYS = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(1, 901)]


def test_one_worker_costs_no_hash() -> None:
    """With a single candidate the prompt is not looked at."""
    routed = Routed(entry("a"))
    ask = Ask("chat", keys=lambda: 1 // 0)  # type: ignore[arg-type, return-value] # it is never called
    choice = routed.router.choose(ask, routed.fleet.holding("chat"), 0)
    assert choice is not None
    assert choice.member.id == "a"


def test_equal_prompts_go_to_the_same_worker() -> None:
    """Without load, the choice depends on the prompt alone, not on the order of the workers."""
    one, other = Routed(*crowd(3)), Routed(*crowd(3)[::-1])
    assert all(one.worker(key).id == other.worker(key).id for key in KEYS[:50])


def test_distinct_prompts_spread_evenly() -> None:
    """Three idle workers get about a third of distinct prompts each."""
    routed = Routed(*crowd(3))
    counts = Counter(routed.worker(key).id for key in KEYS)
    assert min(counts.values()) >= 200


def test_a_worker_that_goes_moves_only_its_own_prompts() -> None:
    """Prompts of the workers that stay keep their worker; a gateway that saw nothing has all in place."""
    routed = Routed(*crowd(5))
    before = {key: routed.worker(key).id for key in KEYS[:300]}
    routed.fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="w2", epoch=1)), 1)
    assert all(routed.worker(key).id == name for key, name in before.items() if name != "w2")
    assert all(routed.worker(key).id != "w2" for key in before)
    routed.fleet.apply(change(put=entry("w2", epoch=2)), 2)
    routed.now = 100
    routed.forget()
    assert all(routed.worker(key).id == name for key, name in before.items())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 5))
@settings(max_examples=50)
def test_no_worker_goes_over_its_bound(keys: list[int], count: int) -> None:
    """However alike the prompts are, no worker gets more than its bound of the load, rounded up."""
    tuning = Tuning()
    routed = Routed(*crowd(count), tuning=tuning)
    for key in keys:
        routed.worker(key).in_flight += 1
    loads = [member.in_flight for member in routed.members.values()]
    assert sum(loads) == len(keys)
    share = len(keys) / count
    assert max(loads) <= max(tuning.held_bound * share, share + tuning.held_spare) + 1


def test_conversations_that_begin_are_dealt_out_by_load() -> None:
    """Of two workers that come into question, the one with less to do; no worker gets far over its share."""
    routed = Routed(*crowd(20, capacity=64))
    for key in KEYS:
        routed.worker(key).in_flight += 1
    loads = [member.in_flight for member in routed.members.values()]
    assert max(loads) <= 1.25 * len(KEYS) / 20
    assert routed.worker(KEYS[0]) is not None


def test_a_conversation_stays_where_it_was_sent() -> None:
    """Until its worker has twice its share; then it is at home where it went instead."""
    routed = Routed(*crowd(4, capacity=64))
    home = routed.worker(1)
    home.in_flight = 8
    assert routed.worker(1) is home
    home.in_flight = 30
    other = routed.worker(1)
    assert other is not home
    home.in_flight = 0
    assert routed.worker(1) is other


def test_bounds_follow_capacity() -> None:
    """Of requests that are all alike, a worker of four times the capacity takes about four times as many."""
    routed = Routed(entry("small", capacity=2), entry("large", capacity=8))
    for _ in range(100):
        routed.worker(7).in_flight += 1
    assert routed.members["small"].in_flight <= 27
    assert routed.members["large"].in_flight >= 73


def test_without_a_prompt_the_least_loaded_is_chosen() -> None:
    """Embeddings go where there is most room, among many workers to one with little to do."""
    routed = Routed(*crowd(2))
    routed.members["w0"].in_flight = 1
    assert routed.worker().id == "w1"
    many = Routed(*crowd(200))
    for _ in range(400):
        many.worker().in_flight += 1
    assert max(member.in_flight for member in many.members.values()) <= 4


def test_only_workers_that_can_do_the_task_are_candidates() -> None:
    """A worker needs the task, and must not have been tried."""
    routed = Routed(entry("a"), entry("b", models=(EMBED,)))
    ask = Ask("embed", pb.TASK_CHAT)
    assert routed.router.choose(ask, routed.fleet.holding("embed"), 0) is None
    assert routed.worker().id == "a"
    assert routed.ask(1, tried=(routed.members["a"],)) is None


def test_suspect_and_ejected_workers_are_the_last_resort() -> None:
    """They take requests only where nobody better is left; unreachable ones never do."""
    routed = Routed(entry("good"), entry("suspect", lease=rpb.LEASE_STATE_SUSPECT), entry("gone"))
    members = routed.members
    members["gone"].health.reachable = False
    assert {routed.worker(key).id for key in KEYS[:40]} == {"good"}
    members["good"].health.eject(0)
    routed.now = 1
    assert "suspect" in {routed.worker(key).id for key in KEYS[:40]}
    assert routed.worker(1, tried=(members["suspect"],)).id == "good"


def test_a_worker_whose_one_model_fails_keeps_the_others() -> None:
    """It gets no requests for that one while another worker has it, and those for its others."""
    routed = Routed(entry("broken", models=(CHAT, EMBED)), entry("chat", models=(CHAT,)))
    routed.fleet.eject_model(routed.members["broken"], "chat", 0)
    routed.now = 1
    assert {routed.worker(key).id for key in KEYS[:40]} == {"chat"}
    routed.fleet.apply(change(put=entry("embed", models=(EMBED,))), 1)
    chosen = set()
    for _ in range(8):
        choice = routed.router.choose(Ask("embed", pb.TASK_EMBED), routed.fleet.holding("embed"), 10)
        assert choice is not None
        choice.member.in_flight += 1
        chosen.add(choice.member.id)
    assert chosen == {"broken", "embed"}


def test_a_worker_that_says_not_now_is_the_very_last_resort() -> None:
    """For the model that it named; it is asked where there is nobody else."""
    routed = Routed(entry("a"), entry("b"))
    a, b = routed.members["a"], routed.members["b"]
    a.health.not_now("chat", 10)
    b.health.eject(0)
    routed.now = 5
    assert {routed.worker(key) for key in KEYS[:20]} == {b}
    assert routed.worker(1, tried=(b,)) is a
    routed.now = 11
    assert {routed.worker(key) for key in KEYS[:20]} == {a}


def test_workers_that_honour_what_is_asked_come_before_others() -> None:
    """Where only some can constrain, they get what must be; where none can, one of them says so itself."""
    routed = Routed(honouring("plain", "top_k"), honouring("able", "top_k", "constraint"))
    constrained = pb.GenerateRequest(model="chat", constraint=pb.Constraint(regex="a+"))
    free = pb.GenerateRequest(model="chat")

    def chosen(request: pb.GenerateRequest) -> set[str]:
        routed.forget()
        choices = [routed.ask(key, request=request) for key in KEYS[:40]]
        return {choice.member.id for choice in choices if choice is not None}

    assert chosen(constrained) == {"able"}
    assert chosen(free) == {"plain", "able"}
    able = routed.members["able"]
    able.health.not_now("chat", 1000)
    assert chosen(constrained) == {"able"}
    assert routed.ask(1, request=constrained, tried=(able,)) is None
    neither = Routed(honouring("a", "top_k"), honouring("b", "min_p"))
    assert neither.ask(1, request=constrained) is not None


def test_a_constraint_goes_to_a_worker_that_has_its_kind() -> None:
    """Where some hold answers to other kinds, as servers of other makes do. One of before tells none."""
    some, all_, old = (honouring(name, "constraint") for name in ("some", "all", "old"))
    some.worker.models[0].constraints.extend(["json_schema", "choice"])
    all_.worker.models[0].constraints.extend(["json_schema", "choice", "regex"])
    routed = Routed(some, all_, old)

    def chosen(constraint: pb.Constraint) -> set[str]:
        routed.forget()
        request = pb.GenerateRequest(model="chat", constraint=constraint)
        choices = [routed.ask(key, request=request) for key in KEYS[:40]]
        return {choice.member.id for choice in choices if choice is not None}

    assert chosen(pb.Constraint(regex="a+")) == {"all", "old"}
    assert chosen(pb.Constraint(json_schema="{}")) == {"some", "all", "old"}


def test_the_own_zone_comes_first_while_it_has_room() -> None:
    """A gateway with a zone leaves it when its workers have as many requests as they run at once."""
    routed = Routed(placed("near", "x", capacity=4), placed("far", "y", capacity=4), zone="x")
    for key in KEYS[:4]:
        member = routed.worker(key)
        assert member.id == "near"
        member.in_flight += 1
    assert routed.worker(KEYS[0]).id == "far"
    routed.members["near"].in_flight = 0
    routed.members["near"].health.eject(0)
    routed.now = 1
    assert routed.worker(KEYS[0]).id == "far"
    nowhere = Routed(placed("near", "x"), placed("far", "y"), zone="z")
    assert {nowhere.worker(key).id for key in KEYS[:40]} == {"near", "far"}


def test_a_newcomer_takes_its_keys_little_by_little() -> None:
    """It gets half of its keys at first and soon all of them, and keeps those that it has."""
    routed = Routed(*crowd(3))
    routed.fleet.apply(change(put=entry("new")), 100)
    had: set[int] = set()
    for part, least, most in ((0.0, 0.35, 0.65), (0.75, 0.6, 0.9), (1.0, 1.0, 1.0)):
        routed.now = 100 + part * SLOW_START_S
        routed.forget()
        has = {key for key in KEYS if routed.worker(key).id == "new"}
        assert had <= has
        had = has
        routed.now = 200
        routed.forget()
        full = sum(routed.worker(key).id == "new" for key in KEYS)
        assert least * full <= len(has) <= most * full


def test_who_comes_back_from_an_ejection_begins_with_less() -> None:
    """Than one that comes: it has to show that it works."""
    new, back = (Member(id=name, address=name, fresh_since=100.0) for name in ("new", "back"))
    back.health.own.ejected_until = 110.0

    assert (new.weight("chat", 100.0), new.weight("chat", 100.0 + SLOW_START_S)) == (0.5, 1.0)
    assert (back.weight("chat", 110.0), back.weight("chat", 110.0 + SLOW_START_S)) == (0.1, 1.0)


def test_much_used_instructions_are_on_many_workers_and_others_on_few() -> None:
    """Conversations with rare instructions share a worker; those that everybody uses are on all of them."""
    routed = Routed(*crowd(16, capacity=64))
    rare = Counter[str]()
    for number, key in enumerate(KEYS):
        routed.now += 0.05
        if number % 45 == 0:
            rare[routed.worker(key, 12345).id] += 1
        else:
            routed.worker(key, 777)
    assert max(rare.values()) >= 18
    common = Counter(routed.worker(key, 777).id for key in KEYS)
    assert len(common) == 16


def test_a_choice_tells_what_it_was_made_between() -> None:
    """The workers in the order in which they were looked at, with their loads, and not too many."""
    routed = Routed(*crowd(40))
    first = routed.worker(5)
    assert routed.ask(5) == (first, ((first.id, 0.0),))
    first.in_flight = 8
    choice = routed.ask(5)
    assert choice is not None
    assert choice.seen[0] == (first.id, 1.0)
    assert choice.member.id in [name for name, _ in choice.seen[1:]]
    for member in routed.members.values():
        member.in_flight = 1000
    choice = routed.ask(5)
    assert choice is not None
    assert len(choice.seen) <= MOST_SHOWN


def test_adapters_share_the_load_and_the_ring_of_their_base() -> None:
    """Workers that hold the same models are one group, whatever the models' names are."""
    adapter = pb.Model(id="support", parent="chat", tasks=[pb.TASK_CHAT])
    both = (pb.Model(id="chat", tasks=[pb.TASK_CHAT]), adapter)
    routed = Routed(entry("a", models=both), entry("b", models=both))
    assert routed.fleet.group("chat") is routed.fleet.group("support")
    a = routed.members["a"]
    a.in_flight = 50
    ask = Ask("support", pb.TASK_CHAT)
    choice = routed.router.choose(ask, routed.fleet.holding("support"), 0)
    assert choice is not None
    assert choice.member.id == "b"


def test_the_parts_of_one_request_stay_with_one_kind() -> None:
    """The first chosen leads, the first that accepts decides; a card that tells nothing is let pass."""
    a, b, c = Routed(*crowd(3)).fleet.members()
    for member, kind in ((a, "x"), (b, "y"), (c, "x")):
        card = pb.Model()
        card.CopyFrom(member.models["chat"])
        card.compute_hash = kind
        member.models["chat"] = card
    pin = ComputePin()
    assert pin.narrow([a, b, c], "chat") == [a, b, c]
    pin.lead(b, "chat")
    assert pin.narrow([a, b, c], "chat") == [b]
    assert pin.narrow([a, c], "chat") == [a, c]
    assert pin.narrow([a, b, c], "chat", lost=[b]) == [a, b, c]  # nobody has accepted
    assert pin.accept("x")
    assert pin.narrow([a, b, c], "chat") == [a, c]
    assert not pin.accept("y")
    assert pin.accept("")
    b.models["chat"].compute_hash = ""
    assert pin.narrow([a, b, c], "chat") == [a, b, c]


def test_who_computes_the_same_otherwise_takes_over_where_nobody_else_is_left() -> None:
    """Another instruction set: not before all of the first one are lost, and never another model."""
    a, b, c, d = Routed(*crowd(4)).fleet.members()
    kinds = (a, "x", "same"), (b, "y", "same"), (c, "x", "same"), (d, "z", "other")
    for member, kind, definition in kinds:
        card = pb.Model(id="chat", compute_hash=kind, definition_hash=definition)
        member.models["chat"] = card
    pin, everybody = ComputePin(), [a, b, c, d]
    assert pin.accept("x", a.models["chat"])
    assert pin.narrow(everybody, "chat", lost=[a]) == [a, c]
    assert not pin.accept("z", d.models["chat"])
    c.health.reachable = False
    assert pin.narrow(everybody, "chat", lost=[a]) == [a, b, c]
    assert pin.accept("y", b.models["chat"])
    assert pin.hash == "y"
    assert pin.narrow(everybody, "chat") == [b]
    known = ComputePin()
    assert known.accept("x")
    assert known.narrow([b, d], "chat", lost=[]) == []
    a.health.reachable = c.health.reachable = False
    assert known.narrow(everybody, "chat") == [a, b, c]


@pytest.mark.parametrize("card_gone", [False, True])
@pytest.mark.parametrize(
    ("began", "goes_on"), [(("x", ""), ("y", "x")), (("y", "x"), ("x", "")), (("x", "d"), ("y", "d"))]
)
def test_workers_of_before_the_definition_hash_take_over_and_are_taken_over_from(
    began: tuple[str, str], goes_on: tuple[str, str], card_gone: bool
) -> None:
    """Their one hash is of what the model is. What told it may be gone, where the hash is the same."""
    a, b, c = Routed(*crowd(3)).fleet.members()
    for member, (kind, definition) in ((a, began), (b, goes_on), (c, ("z", "other"))):
        member.models["chat"] = pb.Model(id="chat", compute_hash=kind, definition_hash=definition)
    pin = ComputePin()
    if card_gone and not began[1]:  # as a resumable stream that another process began
        assert pin.accept(began[0])
        there = [b, c]
    else:
        assert pin.accept(began[0], a.models["chat"])
        there = [a, b, c]
    assert b in (found := pin.narrow(there, "chat", lost=[a]))
    assert c not in found
    assert not pin.accept("z", c.models["chat"])
    assert pin.accept(goes_on[0], b.models["chat"])


@pytest.mark.parametrize("keyed", [True, False])
def test_workers_of_the_own_zone_that_can_take_nothing_any_more_are_passed_over(keyed: bool) -> None:
    """Also in the moment in which they are still counted as good."""
    near = [placed(f"near{number}", "x") for number in range(24)]
    routed = Routed(*near, placed("far", "y"), zone="x")
    assert routed.worker(1 if keyed else None).zone == "x"
    for member in routed.members.values():
        member.ready = member.zone == "y"
    assert routed.worker(2 if keyed else None).id == "far"


def test_what_a_worker_did_that_has_gone_is_wanted_until_it_is_back_or_forgotten() -> None:
    """Nobody else gets what asks it; but any of those that are there once it is back without."""
    able, plain = honouring("able", "top_k", "constraint"), honouring("plain", "top_k")
    request = pb.GenerateRequest(model="chat", constraint=pb.Constraint(regex="a+"))

    def gone() -> Routed:
        routed = Routed(able, plain)
        routed.now = 1.0
        routed.fleet.apply(snapshot(plain), routed.now)
        return routed

    routed = gone()
    assert routed.ask(1, request=request) is None
    assert routed.ask(1, request=pb.GenerateRequest(model="chat")) is not None
    routed.fleet.apply(snapshot(plain, honouring("able", "top_k")), routed.now)
    assert routed.ask(1, request=request) is not None
    routed = gone()
    routed.now = 700.0
    assert routed.ask(1, request=request) is not None
    routed = gone()
    routed.fleet.apply(snapshot(able, plain), routed.now)
    assert routed.worker().id in ("able", "plain")
    choice = routed.ask(1, request=request)
    assert choice is not None
    assert choice.member.id == "able"
