"""What resumable streams hold of a store: who gives way for whom."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from inferloom_gateway.storage import streams
from inferloom_gateway.storage.migrations import migrate
from inferloom_gateway.storage.schema import MIGRATIONS
from inferloom_gateway.storage.streams import LEAST_BYTES, Bounds, KeptStream
from inferloom_mesh.errors import InferloomError, Reason

NOW = 1000.0


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """A store in which a tenant has room for four streams, and two that are being made."""
    monkeypatch.setattr(streams, "OF_TENANT", Bounds(2, 4 * LEAST_BYTES))
    monkeypatch.setattr(streams, "OF_ALL", Bounds(3, 8 * LEAST_BYTES))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS)
        yield connection


def stream(name: str, tenant: str = "t", wanted_until: float = NOW + 60) -> KeptStream:
    """One that is being made."""
    return KeptStream(
        *(tenant, name, "chat", b"{}", 0, 60.0), owner="me", claimed_until=NOW + 6, wanted_until=wanted_until
    )


def names(store: sqlite3.Connection) -> list[str]:
    """Those that are kept."""
    return [name for (name,) in store.execute("SELECT id FROM streams ORDER BY id")]


def end(store: sqlite3.Connection, one: KeptStream) -> None:
    """Let it be over."""
    assert streams.append(store, replace(one, over=""), 0, [b"x"])


def test_what_is_over_counts_for_nothing_but_its_bytes(store: sqlite3.Connection) -> None:
    """Of those, the one goes first that would have gone first anyway."""
    for number, kept_s in enumerate((30, 10, 20)):
        one = stream(f"s{number}", wanted_until=NOW + kept_s)
        streams.begin(store, one, NOW)
        end(store, one)
    assert names(store) == ["s0", "s1", "s2"]
    streams.begin(store, stream("s3"), NOW)
    assert names(store) == ["s0", "s2", "s3"]
    streams.append(store, stream("s3"), 0, [bytes(LEAST_BYTES)])
    assert names(store) == ["s0", "s3"]


def test_those_that_are_made_give_way_for_nobody(store: sqlite3.Connection) -> None:
    """Who wants more than there is is told so, and nothing is lost for it."""
    one, two = stream("s0"), stream("s1")
    for each in (one, two):
        streams.begin(store, each, NOW)
    with pytest.raises(InferloomError, match=r"2 of your prompts .* of 2 at most") as caught:
        streams.begin(store, stream("s2"), NOW)
    assert caught.value.reason is Reason.RATE_LIMIT_EXCEEDED
    end(store, two)
    store.execute("SAVEPOINT job")
    with pytest.raises(InferloomError, match="as many bytes as may be kept"):
        streams.append(store, one, 0, [bytes(4 * LEAST_BYTES)])
    store.execute("ROLLBACK TO job")  # as the store does with work that fails
    assert names(store) == ["s0", "s1"]


def test_a_store_has_as_many_as_all_tenants_together_may(store: sqlite3.Connection) -> None:
    """That is the mesh's capacity, and no limit of the caller's."""
    for number, tenant in enumerate(("t", "t", "u")):
        streams.begin(store, stream(f"s{number}", tenant), NOW)
    with pytest.raises(InferloomError) as caught:
        streams.begin(store, stream("s3", "v"), NOW)
    assert caught.value.reason is Reason.SERVER_OVERLOADED


def test_without_keys_everybody_has_what_all_have(store: sqlite3.Connection) -> None:
    """Nobody can be told from another."""
    for number in range(3):
        streams.begin(store, stream(f"s{number}", ""), NOW)
    assert names(store) == ["s0", "s1", "s2"]


def test_those_whose_process_is_dead_take_no_place(store: sqlite3.Connection) -> None:
    """They may be gone on with for an hour; nobody computes them meanwhile."""
    for name, tenant in (("s0", "t"), ("s1", "t"), ("s2", "other")):
        streams.begin(store, replace(stream(name, tenant), claimed_until=NOW - 1), NOW)
    streams.begin(store, stream("s3"), NOW)
    streams.begin(store, stream("s4"), NOW)
    with pytest.raises(InferloomError, match="2 of your prompts"):
        streams.begin(store, stream("s5"), NOW)
    assert names(store) == ["s0", "s1", "s2", "s3", "s4"]
