import pytest

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry.journal import Kind
from inferloom_registry.lease import LeaseLostError
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.registration import Registration
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL, expire, join, renew, worker


def ids(table: LeaseTable) -> list[str]:
    return [lease.registration.worker_id for lease in table.leases()]


def suspects(table: LeaseTable) -> list[str]:
    return [lease.registration.worker_id for lease in table.leases() if lease.suspect]


def loss(table: LeaseTable, lease: Registration) -> str | None:
    try:
        table.held(lease.lease_id, lease.epoch)
    except LeaseLostError as lost:
        return pb.LeaseLoss.Name(lost.reason)
    return None


def last_change(table: LeaseTable) -> tuple[Kind, str]:
    [change] = table.since(table.revision - 1)
    return change.kind, change.worker_id


class TestEpochs:
    def test_the_first_registration_has_epoch_1(self, table: LeaseTable) -> None:
        """A worker that nobody knows starts at epoch 1."""
        assert join(table, worker()).epoch == 1

    def test_each_registration_has_a_higher_epoch(self, table: LeaseTable) -> None:
        """A worker that registers again is one epoch further."""
        assert [join(table, worker()).epoch for _ in range(3)] == [1, 2, 3]

    def test_epochs_go_on_after_a_worker_was_gone(self, table: LeaseTable) -> None:
        """The epoch of a removed worker is remembered."""
        table.remove(join(table, worker()), pb.LEASE_LOSS_DEREGISTERED)
        assert join(table, worker()).epoch == 2

    def test_the_workers_own_epoch_counts(self, table: LeaseTable) -> None:
        """A registry that has forgotten goes on from what the worker says."""
        assert join(table, worker(), previous_epoch=41).epoch == 42

    def test_a_restarted_worker_takes_its_name_over(self, table: LeaseTable) -> None:
        """A process that held no epoch replaces the holder, and the old lease is fenced."""
        old = join(table, worker(address="127.0.0.1:1"))
        join(table, worker(address="127.0.0.1:2"))
        assert loss(table, old) == "LEASE_LOSS_FENCED"
        assert [lease.registration.worker.address for lease in table.leases()] == ["127.0.0.1:2"]

    def test_an_older_process_cannot_take_the_name_back(self, table: LeaseTable) -> None:
        """A caller that held an epoch before the present holder's, elsewhere, is refused."""
        join(table, worker(address="127.0.0.1:2"), previous_epoch=5)
        with pytest.raises(InferloomError) as caught:
            join(table, worker(address="127.0.0.1:1"), previous_epoch=4)
        assert caught.value.reason is Reason.ALREADY_EXISTS
        assert table.leases()[0].registration.worker.address == "127.0.0.1:2"

    def test_a_worker_whose_answer_was_lost_can_register_again(self, table: LeaseTable) -> None:
        """The same address with an older epoch is the same worker."""
        join(table, worker(), previous_epoch=5)
        assert join(table, worker(), previous_epoch=5).epoch == 7

    def test_a_full_table_refuses_new_workers_only(self, clock: FakeClock) -> None:
        """At the limit a known worker may register again; another is told to come back."""
        table = LeaseTable(clock, settle=TTL, max_workers=1)
        join(table, worker("a"))
        with pytest.raises(InferloomError) as caught:
            join(table, worker("b"))
        assert caught.value.reason is Reason.SERVER_OVERLOADED
        assert caught.value.retry_after == TTL
        assert join(table, worker("a")).epoch == 2


class TestRenewal:
    def test_a_renewed_lease_lasts(self, table: LeaseTable, clock: FakeClock) -> None:
        """A lease that is renewed within its TTL stays ACTIVE however long it is held."""
        held = join(table, worker())
        for _ in range(10):
            clock.advance(TTL - 0.1)
            held = renew(table, held)
            assert expire(table) == []
            assert suspects(table) == []

    def test_an_unknown_lease_is_told_so(self, table: LeaseTable) -> None:
        """A lease that was never granted is UNKNOWN, so that its worker registers again."""
        with pytest.raises(LeaseLostError) as caught:
            table.renewal("nobody's", 1)
        assert caught.value.reason == pb.LEASE_LOSS_UNKNOWN

    def test_a_stale_epoch_is_fenced(self, table: LeaseTable) -> None:
        """The right lease with another epoch is FENCED."""
        held = join(table, worker(), previous_epoch=4)
        with pytest.raises(LeaseLostError) as caught:
            table.renewal(held.lease_id, 4)
        assert caught.value.reason == pb.LEASE_LOSS_FENCED

    def test_what_is_absent_stays(self, table: LeaseTable) -> None:
        """A bare renewal keeps state, models and load."""
        held = renew(table, join(table, worker("w1", "a", "b")), load=pb.Load(running=3))
        assert renew(table, held) is held
        assert table.leases()[0].load == pb.Load(running=3)

    def test_what_is_given_replaces(self, table: LeaseTable) -> None:
        """State and models of a renewal take the place of what was known; earlier values are untouched."""
        held = join(table, worker("w1", "a"))
        models = pb.ModelSet(models=[inference_pb2.Model(id="b")])
        renewed = renew(table, held, state=pb.WORKER_STATE_DRAINING, models=models)
        assert renewed.worker == worker("w1", "b", state=pb.WORKER_STATE_DRAINING)
        assert held.worker == worker("w1", "a")
        assert last_change(table) == (Kind.PUT, "w1")

    def test_a_renewal_can_change_the_capacity(self, table: LeaseTable) -> None:
        """Watchers are told; 0 leaves it as it is."""
        held = join(table, worker())
        assert renew(table, held, capacity=96).worker.capacity == 96
        assert last_change(table) == (Kind.PUT, "w1")
        assert renew(table, held).worker.capacity == 96

    def test_a_set_of_models_says_what_is_loading(self, table: LeaseTable) -> None:
        """It replaces what was said before."""
        described = worker()
        described.loading.append("n")
        held = join(table, described)
        told = pb.ModelSet(models=described.models, loading=["p"])
        assert list(renew(table, held, models=told).worker.loading) == ["p"]
        assert list(renew(table, held, state=pb.WORKER_STATE_DRAINING).worker.loading) == ["p"]
        assert not renew(table, held, models=pb.ModelSet(models=described.models)).worker.loading

    def test_a_worker_can_come_to_hold_no_model(self, table: LeaseTable) -> None:
        """An empty set of models is not an absent one."""
        assert not renew(table, join(table, worker()), models=pb.ModelSet()).worker.models

    def test_a_renewal_with_load_changes_only_the_load(self, table: LeaseTable) -> None:
        """Load is news of its own kind, so that watchers need not be sent the models each time."""
        renew(table, join(table, worker()), load=pb.Load(waiting=1))
        assert last_change(table) == (Kind.LOAD, "w1")

    def test_a_late_write_changes_nothing(self, table: LeaseTable) -> None:
        """An older version of a registration, told late by a store, does not undo a newer one."""
        held = join(table, worker())
        renew(table, held, state=pb.WORKER_STATE_DRAINING)
        revision = table.revision
        table.put(held)
        assert table.revision == revision
        assert table.leases()[0].registration.worker.state == pb.WORKER_STATE_DRAINING


class TestExpiry:
    def test_a_silent_worker_is_suspected_then_removed(self, table: LeaseTable, clock: FakeClock) -> None:
        """SUSPECT at the TTL, gone half a TTL later, and its lease is then answered as EXPIRED."""
        held = join(table, worker())
        clock.advance(TTL - 0.01)
        assert (expire(table), suspects(table)) == ([], [])
        clock.advance(0.01)
        assert (expire(table), suspects(table)) == ([], ["w1"])
        assert last_change(table) == (Kind.PUT, "w1")
        clock.advance(TTL / 2 - 0.01)
        assert expire(table) == []
        clock.advance(0.01)
        assert expire(table) == ["w1"]
        assert last_change(table) == (Kind.REMOVED, "w1")
        assert loss(table, held) == "LEASE_LOSS_EXPIRED"

    def test_a_renewal_revives_a_suspect(self, table: LeaseTable, clock: FakeClock) -> None:
        """A suspect that renews is ACTIVE again, and watchers are told."""
        held = join(table, worker())
        clock.advance(TTL)
        expire(table)
        renew(table, held)
        assert suspects(table) == []
        assert last_change(table) == (Kind.PUT, "w1")
        clock.advance(TTL * 0.9)
        assert expire(table) == []

    def test_each_lease_has_its_own_ttl(self, table: LeaseTable, clock: FakeClock) -> None:
        """A short lease runs out while a long one lasts."""
        join(table, worker("long"), ttl=60)
        join(table, worker("short", "other"), ttl=2)
        clock.advance(2)
        expire(table)
        clock.advance(1)
        assert expire(table) == ["short"]

    def test_an_expired_lease_is_fenced_once_its_name_is_taken(
        self, table: LeaseTable, clock: FakeClock
    ) -> None:
        """A worker that ran out must not come back over one that has replaced it."""
        held = join(table, worker())
        clock.advance(TTL)
        expire(table)
        clock.advance(TTL / 2)
        expire(table)
        join(table, worker(address="127.0.0.1:2"))
        assert loss(table, held) == "LEASE_LOSS_FENCED"

    def test_a_registry_that_was_held_up_gives_its_workers_time(
        self, table: LeaseTable, clock: FakeClock
    ) -> None:
        """After a pause of many TTLs a worker is first SUSPECT, for as long as ever."""
        held = join(table, worker())
        clock.advance(100 * TTL)
        assert (expire(table), suspects(table)) == ([], ["w1"])
        clock.advance(TTL / 2 - 0.01)
        assert expire(table) == []
        renew(table, held)
        assert suspects(table) == []

    def test_a_lease_that_was_given_back_is_gone(self, table: LeaseTable) -> None:
        """Deregistering removes at once and is remembered as such."""
        held = join(table, worker())
        table.remove(held, pb.LEASE_LOSS_DEREGISTERED)
        assert ids(table) == []
        assert loss(table, held) == "LEASE_LOSS_DEREGISTERED"

    def test_removing_a_replaced_registration_changes_nothing(self, table: LeaseTable) -> None:
        """A removal that was decided on an older registration does not hit the newer."""
        old = join(table, worker())
        join(table, worker())
        table.remove(old, pb.LEASE_LOSS_EXPIRED)
        assert ids(table) == ["w1"]


class TestSettling:
    def test_nothing_is_removed_in_the_first_ttl(self, clock: FakeClock) -> None:
        """A registry that has just started suspects, but removes only what is given back."""
        table = LeaseTable(clock, settle=TTL)
        join(table, worker("short", "a"), ttl=2)
        back = join(table, worker("back", "b"))
        clock.advance(2)
        expire(table)
        clock.advance(3.9)
        assert (expire(table), suspects(table), table.settling) == ([], ["short"], True)
        table.remove(back, pb.LEASE_LOSS_DEREGISTERED)
        assert ids(table) == ["short"]
        clock.advance(0.1)
        assert (expire(table), table.settling) == (["short"], False)

    def test_everybody_is_sent_the_whole_set_when_it_is_over(self, clock: FakeClock) -> None:
        """The end of settling is a revision that no earlier one leads to."""
        table = LeaseTable(clock, settle=TTL)
        join(table, worker(), ttl=60)
        before = table.revision
        clock.advance(TTL)
        expire(table)
        assert (table.revision, table.covers(before)) == (before + 1, False)


def test_past_leases_are_bounded(table: LeaseTable) -> None:
    """A worker that registers for ever does not fill the memory: old leases become unknown."""
    first = join(table, worker())
    for _ in range(4097):
        join(table, worker())
    assert loss(table, first) == "LEASE_LOSS_UNKNOWN"
