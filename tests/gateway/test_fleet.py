"""The fold of the registry's changes into the set of workers."""

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.tally import EJECTION_S, FAILURES, MODEL_FAILURES
from tests.gateway.samples import CHAT, EMBED, change, entry, snapshot


def ids(fleet: Fleet, model: str = "chat") -> list[str]:
    """The usable workers of a model."""
    return sorted(member.id for member in fleet.holding(model) if member.usable)


def only(fleet: Fleet) -> Member:
    """The fleet's one worker."""
    (member,) = fleet.members()
    return member


def test_a_snapshot_is_the_whole_set() -> None:
    """Workers that a complete snapshot does not list leave."""
    fleet = Fleet()
    fleet.apply(snapshot(entry("a"), entry("b")), 0)
    left = fleet.apply(snapshot(entry("b"), entry("c")), 1)
    assert ids(fleet) == ["b", "c"]
    assert [member.id for member in left] == ["a"]


def test_a_settling_snapshot_removes_nobody() -> None:
    """While a registry settles, a missing worker may only not have come back yet."""
    fleet = Fleet()
    fleet.apply(snapshot(entry("a"), entry("b")), 0)
    assert fleet.apply(snapshot(entry("b"), settling=True), 1) == []
    assert ids(fleet) == ["a", "b"]
    fleet.apply(snapshot(entry("b")), 2)
    assert ids(fleet) == ["b"]


def test_puts_and_removals_change_single_workers() -> None:
    """A put adds or changes, a removal takes away."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a")), 0)
    fleet.apply(change(put=entry("b")), 0)
    fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="a", epoch=1)), 0)
    assert ids(fleet) == ["b"]


def test_the_end_of_an_older_registration_removes_nobody() -> None:
    """A removal of epoch 1 does not touch the worker that holds epoch 2."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", epoch=2)), 0)
    fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="a", epoch=1)), 0)
    assert ids(fleet) == ["a"]


def test_workers_that_start_or_drain_are_not_usable() -> None:
    """Only READY workers take new calls, but their models stay known."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", state=rpb.WORKER_STATE_DRAINING)), 0)
    fleet.apply(change(put=entry("b", state=rpb.WORKER_STATE_STARTING)), 0)
    assert ids(fleet) == []
    assert fleet.models() == []
    assert fleet.knows("chat", 0)


def test_a_new_registration_keeps_running_calls() -> None:
    """A worker that registers again at the same address is the same worker, with what it runs."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a")), 0)
    member = only(fleet)
    member.in_flight = 3
    assert fleet.apply(change(put=entry("a", epoch=2)), 1) == []
    assert only(fleet) is member
    assert (member.epoch, member.in_flight) == (2, 3)


def test_a_new_registration_tells_where_the_links_port_is_now() -> None:
    """A worker that was started anew at the same address has another, or none."""
    fleet = Fleet()
    for epoch, port in enumerate(("x:2", "x:3", ""), 1):
        told = entry("a", epoch=epoch)
        told.worker.link_address = port
        fleet.apply(change(put=told), 0)
        assert only(fleet).link_address == port


def test_a_worker_at_a_new_address_is_a_new_worker() -> None:
    """A changed address replaces the member; the old one is given back to be retired."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", address="x:1")), 0)
    before = only(fleet)
    assert fleet.apply(change(put=entry("a", address="x:2", epoch=2)), 1) == [before]
    assert only(fleet) is not before


def test_an_unreachable_worker_that_registers_again_starts_afresh() -> None:
    """A restarted process on the same port is not held to its predecessor's record."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a")), 0)
    before = only(fleet)
    before.health.reachable = False
    assert ids(fleet) == []
    assert fleet.apply(change(put=entry("a")), 1) == []
    assert ids(fleet) == []
    assert fleet.apply(change(put=entry("a", epoch=2)), 2) == [before]
    assert ids(fleet) == ["a"]


def test_a_suspect_worker_is_kept_while_its_calls_go_well() -> None:
    """Past its lease a worker is preferred only if a call has succeeded since."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a")), 0)
    member = only(fleet)
    assert member.preferred("chat", 0)
    fleet.apply(change(put=entry("a", lease=rpb.LEASE_STATE_SUSPECT)), 10)
    assert member.usable
    assert not member.preferred("chat", 10)
    member.health.succeeded(11, "chat")
    assert member.preferred("chat", 12)
    member.health.failed(0)
    assert not member.preferred("chat", 12)
    fleet.apply(change(put=entry("a")), 13)
    assert member.preferred("chat", 13)


def test_a_model_is_remembered_for_a_while() -> None:
    """After its last worker went, a model is known until its memory ends."""
    fleet = Fleet(memory_s=60)
    fleet.apply(change(put=entry("a")), 0)
    fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="a", epoch=1)), 100)
    assert fleet.knows("chat", 160)
    assert not fleet.knows("chat", 161)
    assert not fleet.knows("other", 100)


def test_a_model_that_was_unloaded_is_forgotten() -> None:
    """A worker that goes on without a model, such as an adapter, says that it is not to come back."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", models=(CHAT, EMBED))), 0)
    fleet.apply(change(put=entry("b", models=(CHAT,))), 0)
    fleet.apply(change(put=entry("a", models=())), 1)
    assert not fleet.knows("embed", 1)
    assert fleet.knows("chat", 1)
    fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="b", epoch=1)), 2)
    assert fleet.knows("chat", 2)


def test_a_model_that_a_new_registration_lacks_is_remembered() -> None:
    """A worker that starts again may not have loaded it yet."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", models=(CHAT, EMBED))), 0)
    fleet.apply(change(put=entry("a", models=(CHAT,), epoch=2)), 1)
    assert fleet.knows("embed", 1)


def test_models_are_the_union_over_usable_workers_in_order() -> None:
    """Each model is listed once, by id; a worker that cannot be used adds none."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", models=(EMBED, CHAT))), 0)
    fleet.apply(change(put=entry("b", models=(CHAT,))), 0)
    assert [model.id for model in fleet.models()] == ["chat", "embed"]
    for member in fleet.members():
        if member.id == "a":
            member.health.reachable = False
    assert [model.id for model in fleet.models()] == ["chat"]


def test_reported_load_counts_beyond_our_own_calls() -> None:
    """What a worker says it has, less what we have on it, is other gateways' load."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a", load=rpb.Load(running=2))), 0)
    member = only(fleet)
    member.in_flight = 3
    load = rpb.WorkerLoad(worker_id="a", epoch=1, load=rpb.Load(running=4, waiting=1))
    fleet.apply(change(load=load), 0)
    assert (member.foreign, member.load) == (2, 5)
    load.epoch = 9
    load.load.running = 100
    fleet.apply(change(load=load), 0)
    assert member.load == 5


def test_at_most_a_tenth_of_the_workers_is_ejected() -> None:
    """One may always go; a second one only where there are twenty."""
    fleet = Fleet()
    fleet.apply(snapshot(*(entry(f"w{number}") for number in range(20))), 0)
    for member in fleet.members():
        fleet.eject(member, 0)
    assert sum(member.health.ejected(0) for member in fleet.members()) == 2


def test_what_fails_at_once_ejects_once() -> None:
    """Many calls of a worker that stalls end in one moment; its term is that of one incident."""
    fleet = Fleet()
    fleet.apply(snapshot(entry("w1")), 0)
    member = only(fleet)
    ejected = [fleet.eject(member, 10.0) for _ in range(12) if member.health.failed(10.0)]
    assert ejected.count(True) == 1
    assert (member.health.own.ejections, member.health.own.ejected_until) == (1, 10.0 + EJECTION_S)


def test_a_worker_is_ejected_from_the_model_that_fails_there() -> None:
    """Under all of its names; for its other models it is as good as before. It comes back with less."""
    other_name = pb.Model(id="gpt", alias_of="chat", tasks=CHAT.tasks)
    fleet = Fleet()
    fleet.apply(snapshot(entry("a", models=(CHAT, other_name, EMBED)), entry("b", models=(CHAT,))), 0)
    a, b = fleet.members()
    assert fleet.eject_model(a, "gpt", 10.0)
    assert [a.preferred(name, 11.0) for name in ("chat", "gpt", "embed")] == [False, False, True]
    assert a.failing(11.0) == dict.fromkeys(("chat", "gpt"), 10.0 + EJECTION_S)
    assert not a.out(11.0)
    assert not a.health.ejected(11.0)
    assert fleet.ejections == {MODEL_FAILURES: 1}
    assert not fleet.eject_model(a, "chat", 11.0)  # what fails now was asked before
    back = 10.0 + EJECTION_S
    assert a.preferred("chat", back)
    assert (a.weight("chat", back), a.weight("embed", back)) == (0.1, 1.0)
    assert fleet.eject_model(a, "chat", back + 1)
    assert a.failing(back + 2)["chat"] == back + 1 + 2 * EJECTION_S
    assert fleet.eject(a, back + 2)
    assert not a.preferred("embed", back + 3)
    assert fleet.ejections[FAILURES] == 1
    assert b.preferred("chat", back + 3)


def test_a_worker_that_is_ejected_from_one_model_is_among_the_tenth() -> None:
    """And of a model at most half of the workers are ejected from it, or from all."""
    fleet = Fleet()
    fleet.apply(snapshot(*(entry(f"w{number}", models=(CHAT, EMBED)) for number in range(20))), 0)
    out = [fleet.eject_model(member, "chat", 0) for member in fleet.members()]
    assert sum(out) == 2
    away = [member for member in fleet.members() if member.health.away(0)]
    assert not fleet.eject(next(member for member in fleet.members() if member not in away), 0)
    assert fleet.eject_model(away[0], "embed", 0)  # it is out already
    assert away[0].out(0)
    pair = Fleet()
    pair.apply(snapshot(entry("a", models=(CHAT, EMBED)), entry("b", models=(CHAT, EMBED))), 0)
    assert [pair.eject_model(member, "chat", 0) for member in pair.members()] == [True, False]


def test_a_model_that_comes_anew_has_failed_nothing() -> None:
    """It was unloaded, and loaded again."""
    fleet = Fleet()
    fleet.apply(snapshot(entry("a", models=(CHAT, EMBED))), 0)
    member = only(fleet)
    assert fleet.eject_model(member, "chat", 0)
    for models in ((EMBED,), (CHAT, EMBED)):
        fleet.apply(change(put=entry("a", models=models)), 1)
    assert member.preferred("chat", 2)


def test_what_a_worker_said_before_is_forgotten_when_it_changes() -> None:
    """A worker that would not take requests for a model is asked again once it has registered anew."""
    fleet = Fleet()
    fleet.apply(change(put=entry("a")), 0)
    member = only(fleet)
    member.health.not_now("chat", 60)
    assert member.health.refuses("chat", 59)
    assert not member.health.refuses("embed", 59)
    fleet.apply(change(put=entry("a")), 1)
    assert member.health.refuses("chat", 2)
    fleet.apply(change(put=entry("a", epoch=2)), 3)
    assert not member.health.refuses("chat", 4)


def test_a_fleet_is_settled_by_a_whole_snapshot() -> None:
    """Until one has come, nobody can say that a model does not exist."""
    fleet = Fleet()
    fleet.apply(snapshot(entry("a"), settling=True), 0)
    assert not fleet.settled
    fleet.apply(snapshot(entry("a")), 1)
    assert fleet.settled
    fleet.apply(snapshot(settling=True), 2)
    assert fleet.settled


def test_a_model_may_come_from_a_worker_that_loads_it() -> None:
    """One that says what it loads is believed; one that starts and says nothing may load anything."""
    fleet = Fleet()
    loading = entry("a", models=(), state=rpb.WORKER_STATE_STARTING)
    fleet.apply(change(put=loading), 0)
    assert fleet.may_come("anything")
    loading.worker.loading.append("chat")
    fleet.apply(change(put=loading), 1)
    assert fleet.may_come("chat")
    assert not fleet.may_come("anything")


def test_workers_that_differ_are_told_apart() -> None:
    """By the compute hash of their cards; those that do not tell theirs are nobody's opposite."""
    fleet = Fleet()
    fleet.apply(snapshot(*(_with_hash(name, kind) for name, kind in (("a", "x"), ("b", "x"), ("c", "")))), 0)
    assert fleet.differing == {}
    fleet.apply(change(put=_with_hash("d", "y")), 1)
    assert fleet.differing == {"chat": {"x": ["a", "b"], "y": ["d"]}}
    fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="d", epoch=1)), 2)
    assert fleet.differing == {}


def test_an_expired_lease_is_told_from_one_that_was_given_back() -> None:
    """Only the first means that nobody may be there any more."""
    for reason, expired in ((rpb.LEASE_LOSS_EXPIRED, True), (rpb.LEASE_LOSS_DEREGISTERED, False)):
        fleet = Fleet()
        fleet.apply(change(put=entry("a")), 0)
        (left,) = fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="a", epoch=1, reason=reason)), 1)
        assert left.expired is expired


def _with_hash(name: str, compute_hash: str) -> rpb.RegisteredWorker:
    model = type(CHAT)()
    model.CopyFrom(CHAT)
    model.compute_hash = compute_hash
    return entry(name, models=(model,))
