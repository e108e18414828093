from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.journal import Journal, Kind


def read(journal: Journal, revision: int) -> list[tuple[int, Kind, str]]:
    return [(change.revision, change.kind, change.worker_id) for change in journal.since(revision)]


def test_changes_are_read_in_order() -> None:
    """A reader gets what it has not seen, oldest first."""
    journal = Journal()
    for worker_id in ("a", "b", "c"):
        journal.record(Kind.PUT, worker_id, 1)
    assert read(journal, 1) == [(2, Kind.PUT, "b"), (3, Kind.PUT, "c")]
    assert read(journal, 3) == []


def test_only_the_last_load_is_kept() -> None:
    """Loads overtake each other, so that renewals do not fill the journal."""
    journal = Journal()
    journal.record(Kind.PUT, "a", 1)
    for _ in range(10_000):
        journal.record(Kind.LOAD, "a", 1)
    assert read(journal, 0) == [(1, Kind.PUT, "a"), (10_001, Kind.LOAD, "a")]


def test_a_put_overtakes_all_earlier_changes() -> None:
    """After a put, a reader needs no earlier put, load or removal of that worker."""
    journal = Journal()
    for kind in (Kind.PUT, Kind.LOAD, Kind.REMOVED, Kind.PUT):
        journal.record(kind, "a", 1)
    assert read(journal, 0) == [(4, Kind.PUT, "a")]


def test_a_removal_says_why() -> None:
    """A removal carries its epoch and reason, because the table no longer has them."""
    journal = Journal()
    journal.record(Kind.PUT, "a", 7)
    journal.record(Kind.REMOVED, "a", 7, pb.LEASE_LOSS_EXPIRED)
    [change] = journal.since(0)
    assert (change.epoch, change.reason) == (7, pb.LEASE_LOSS_EXPIRED)


def test_a_forgotten_removal_puts_older_readers_out_of_reach() -> None:
    """Removals are bounded; who has not seen one that is forgotten must start over."""
    journal = Journal(removals=2)
    for worker_id in ("a", "b", "c"):
        journal.record(Kind.REMOVED, worker_id, 1)
    assert [journal.covers(revision) for revision in range(5)] == [False, True, True, True, False]
    assert read(journal, 1) == [(2, Kind.REMOVED, "b"), (3, Kind.REMOVED, "c")]


def test_a_restart_puts_everybody_out_of_reach() -> None:
    """After a restart only its own revision and later ones are covered."""
    journal = Journal()
    journal.record(Kind.PUT, "a", 1)
    journal.restart()
    journal.record(Kind.PUT, "b", 1)
    assert [journal.covers(revision) for revision in range(4)] == [False, False, True, True]
    assert read(journal, 2) == [(3, Kind.PUT, "b")]
