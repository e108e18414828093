import logging

import pytest

from inferloom_registry.lease import HOLD_TTLS
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.mass_expiry import silenced_models
from inferloom_registry.registration import Registration
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL, expire, join, renew, worker


def pass_time(table: LeaseTable, clock: FakeClock, seconds: float) -> list[str]:
    """Let time pass as the ticker does, in small steps; the ids of the workers that went."""
    gone = []
    for _ in range(round(seconds / 0.25)):
        clock.advance(0.25)
        gone += expire(table)
    return gone


def join_many(table: LeaseTable, count: int, clock: FakeClock) -> list[Registration]:
    """Workers w0, w1, … of one model, whose renewals are spread over the renewal interval."""
    held = []
    for number in range(count):
        held.append(join(table, worker(f"w{number}")))
        clock.advance(TTL / 3 / count)
    return held


@pytest.mark.parametrize(
    ("workers", "silent", "silenced"),
    [
        (["m"], ["m"], set()),
        (["m", "m"], ["m"], set()),
        (["m", "m"], ["m", "m"], {"m"}),
        (["m", "m", "m"], ["m", "m"], {"m"}),
        (["m", "m", "m", "m"], ["m", "m"], set()),
        (["m", "m", "n", "n"], ["m", "m", "n"], {"m"}),
        ([], [], set()),
    ],
)
def test_more_than_half_of_at_least_two_is_a_mass(
    workers: list[str], silent: list[str], silenced: set[str]
) -> None:
    """A model is silenced when more than half of its workers, at least two in all, are."""
    assert silenced_models([[model] for model in workers], [[model] for model in silent]) == silenced


def test_a_single_worker_expires(table: LeaseTable, clock: FakeClock) -> None:
    """The only worker of a model is no mass."""
    join(table, worker())
    assert pass_time(table, clock, TTL * 1.5) == ["w1"]
    assert table.silenced == frozenset()


def test_half_of_the_workers_expire(table: LeaseTable, clock: FakeClock) -> None:
    """One of two that falls silent goes as usual."""
    gone, stays = join(table, worker("gone")), join(table, worker("stays"))
    for _ in range(3):
        assert table.get(gone.worker_id) is not None
        went = pass_time(table, clock, TTL / 2)
        stays = renew(table, stays)
    assert went == ["gone"]


def test_a_mass_is_kept_and_raises_the_alarm(
    table: LeaseTable, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """All of ten workers fall silent, at times spread over a renewal interval: all stay, SUSPECT."""
    join_many(table, 10, clock)
    with caplog.at_level(logging.ERROR):
        assert pass_time(table, clock, TTL * 4) == []
    assert [lease.suspect for lease in table.leases()] == [True] * 10
    assert table.silenced == {"m"}
    assert len([record for record in caplog.records if "ALARM" in record.message]) == 1


def test_other_models_go_on_as_usual(table: LeaseTable, clock: FakeClock) -> None:
    """A mass of one model does not keep a worker of another."""
    join_many(table, 3, clock)
    join(table, worker("other", "n"))
    assert pass_time(table, clock, TTL * 2) == ["other"]


def test_a_freeze_ends_when_workers_come_back(table: LeaseTable, clock: FakeClock) -> None:
    """Once half are heard again, those that stay silent get half a TTL more and then go."""
    held = join_many(table, 4, clock)
    assert pass_time(table, clock, TTL * 2) == []
    held[0] = renew(table, held[0])
    assert pass_time(table, clock, 0.25) == []
    assert table.silenced == {"m"}, "three of four are still silent"
    held[1] = renew(table, held[1])
    assert pass_time(table, clock, TTL / 2 - 0.5) == []
    assert table.silenced == frozenset()
    held[2] = renew(table, held[2])
    assert pass_time(table, clock, 0.5) == ["w3"]
    assert [lease.suspect for lease in table.leases()] == [False] * 3


def test_a_freeze_ends_in_the_end(table: LeaseTable, clock: FakeClock) -> None:
    """Workers that were all switched off are not listed for ever."""
    join_many(table, 4, clock)
    assert pass_time(table, clock, TTL * (HOLD_TTLS - 0.5)) == []
    assert sorted(pass_time(table, clock, TTL)) == ["w0", "w1", "w2", "w3"]
    assert table.leases() == []
    pass_time(table, clock, 0.25)
    assert table.silenced == frozenset()
