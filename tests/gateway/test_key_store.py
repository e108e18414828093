"""The store of keys in a file."""

import sqlite3
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inferloom_gateway.access import usage
from inferloom_gateway.access.api_key import ApiKey, Limits, Policy, key_from
from inferloom_gateway.access.stores import sqlite
from inferloom_gateway.access.stores.opening import open_store
from inferloom_gateway.access.stores.protocol import Flush, StoreError, Usage
from inferloom_gateway.access.stores.sqlite import SqliteStore
from inferloom_gateway.access.usage import UsageMeter

KEY = ApiKey("0" * 12, "digest", "acme", models=("a*",), limits=Limits(60, None, 4), expires=9.0)
TODAY = datetime.now(UTC).date().isoformat()


def used(*rows: Usage) -> Flush:
    """What one process used."""
    return Flush("me", 1, rows)


def fails(flush: Flush) -> None:
    """A store that cannot be written."""
    raise StoreError("away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a store is to be."""
    return tmp_path / "folder" / "keys.db"


@pytest.fixture
def store(file: Path) -> SqliteStore:
    """A new one."""
    return SqliteStore(file, create=True)


def test_the_file_is_its_owners_alone(file: Path, store: SqliteStore) -> None:
    """From its first moment on; one that others can write to is refused."""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o620)
    with pytest.raises(StoreError, match="others can write"):
        SqliteStore(file)


def test_what_one_writes_the_others_read(file: Path, store: SqliteStore) -> None:
    """Keys and policies come with a new revision, usage without."""
    other = open_store(str(file))
    before = other.revision()
    store.put_key(KEY)
    store.put_policy("tenant", "acme", Policy(Limits(tokens_per_minute=5), 2))
    store.put_policy("model", "m*", Policy(Limits(concurrent=5)))
    after, ring = other.read()
    assert after == other.revision() != before
    assert ring.keys == {KEY.id: KEY}
    assert ring.tenants["acme"].share == 2
    assert ring.models["m*"].limits.concurrent == 5
    store.put_policy("model", "m*", None)
    assert not other.read()[1].models
    revision = other.revision()
    store.add_usage(used(Usage(TODAY, KEY.id, 1, 2, 3)))
    assert other.revision() == revision


def test_usage_is_added_up_and_forgotten_after_its_time(store: SqliteStore) -> None:
    """Days that are too old go when something is written."""
    old = (datetime.now(UTC) - timedelta(days=401)).date().isoformat()
    store.add_usage(used(Usage(TODAY, "k", 1, 2, 3), Usage(old, "k", 1, 1, 1)))
    store.add_usage(used(Usage(TODAY, "k", 1, 2, 3), Usage(TODAY, "l", 1, 0, 0)))
    assert store.usage("0") == [Usage(TODAY, "k", 2, 4, 6), Usage(TODAY, "l", 1, 0, 0)]


def test_a_file_in_the_place_of_another_is_another_revision(file: Path, store: SqliteStore) -> None:
    """A backup that is put back is read, even if it was changed as often."""
    store.put_key(KEY)
    revision = store.revision()
    backup = SqliteStore(file.with_name("backup.db"), create=True)
    backup.put_policy("tenant", "t", Policy())
    file.with_name("backup.db").replace(file)
    assert store.revision() != revision
    assert not store.read()[1].keys


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    """A file that is not there, of something else, of another database, and of a newer version."""
    with pytest.raises(StoreError, match="no key store at"):
        open_store(str(tmp_path / "nowhere.db"))
    text = tmp_path / "text"
    text.write_text("this is not a database, however long it may be" * 100)
    text.chmod(0o600)
    with pytest.raises(StoreError, match="not a database"):
        open_store(str(text))
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE something (x)")
    database.close()
    other.chmod(0o600)
    with pytest.raises(StoreError, match="is no key store"):
        open_store(str(other))
    SqliteStore(tmp_path / "new.db", create=True).close()
    with sqlite3.connect(tmp_path / "new.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer version"):
        open_store(str(tmp_path / "new.db"))


def test_several_write_at_once(file: Path, store: SqliteStore) -> None:
    """Nothing is lost, from whichever connection it comes, and one may make the file while another does."""

    def write(number: int) -> None:
        mine = SqliteStore(file, create=True)
        for n in range(10):
            mine.put_key(ApiKey(f"{number:06}{n:06}", "d", "acme"))
            mine.add_usage(used(Usage(TODAY, "k", 1)))
        mine.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.read()[1].keys) == 40
    assert store.usage(TODAY)[0].requests == 40


def test_a_full_store_changes_keys_but_takes_no_more(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key can always be revoked."""
    monkeypatch.setattr(sqlite, "MOST_KEYS", 1)
    store.put_key(KEY)
    store.put_key(ApiKey(KEY.id, KEY.digest, "acme", revoked=1.0))
    with pytest.raises(StoreError, match="takes no more"):
        store.put_key(ApiKey("1" * 12, "d", "acme"))
    assert store.read()[1].keys[KEY.id].revoked == 1.0


def test_a_change_falls_into_nobody_elses(file: Path, store: SqliteStore) -> None:
    """A key that another takes back while its limits are changed stays taken back, and no count is lost."""
    store.put_key(replace(KEY, limits=Limits(0)))

    def raised(key: ApiKey) -> ApiKey:
        return replace(key, limits=Limits((key.limits.requests_per_minute or 0) + 1))

    def write() -> None:
        mine = SqliteStore(file)
        for _ in range(10):
            mine.change_key(KEY.id, raised)
        mine.close()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    store.change_key(KEY.id, lambda key: replace(key, revoked=1.0))
    for thread in threads:
        thread.join()
    kept = store.read()[1].keys[KEY.id]
    assert (kept.revoked, kept.limits) == (1.0, Limits(30))
    revision = store.revision()
    assert store.change_key(KEY.id, lambda key: key) == kept
    assert store.change_key("1" * 12, raised) is None
    assert store.revision() == revision


def test_a_store_has_so_many_limits(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there can be changed."""
    monkeypatch.setattr(sqlite, "MOST_POLICIES", 1)
    store.put_policy("tenant", "a", Policy())
    store.put_policy("tenant", "a", Policy(share=2))
    with pytest.raises(StoreError, match="takes no more"):
        store.put_policy("model", "a", Policy())
    assert store.read()[1].tenants["a"].share == 2


def test_usage_waits_for_a_store_that_cannot_be_written(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken again as it was, under its number, until it is written; then what came meanwhile is."""
    meter = UsageMeter(store, now=lambda: 0.0)
    meter.add("k", 1, 2)
    flush = meter.take()
    assert flush is not None
    assert flush.rows == [Usage("1970-01-01", "k", 1, 1, 2)]
    add_usage = store.add_usage
    with monkeypatch.context() as patched:
        patched.setattr(store, "add_usage", fails)
        assert not meter.write(flush)
    meter.add("k", 3, 4)
    assert meter.take() is flush
    written = list[Flush]()

    def writes(flush: Flush) -> None:
        written.append(flush)
        add_usage(flush)

    monkeypatch.setattr(store, "add_usage", writes)
    for _ in range(2):  # of two that wait for the same, the second has nothing to do
        assert meter.write(flush)
    then = meter.take()
    assert then is not None
    assert meter.write(then)
    assert written == [flush, then]
    assert (then.writer, then.number, then.rows) == (
        *(flush.writer, flush.number + 1),
        [Usage("1970-01-01", "k", 1, 3, 4)],
    )
    assert meter.take() is None


def test_what_is_taken_at_once_has_a_bound(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is taken after it."""
    monkeypatch.setattr(usage, "MOST_FLUSHED", 2)
    meter = UsageMeter(store)
    for key in "abc":
        meter.add(key, 1, 1)
    taken = list[str]()
    while (flush := meter.take()) is not None:
        taken.append("".join(row.key for row in flush.rows))
        assert meter.write(flush)
    assert taken == ["ab", "c"]


def test_a_write_that_meets_a_reader_is_undone(
    file: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no lock on the file: once the reader has left, all go on, whoever they are."""
    monkeypatch.setattr(sqlite, "PATIENCE_S", 0.1)
    mine, other = SqliteStore(file), SqliteStore(file)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM keys").fetchone()
    with pytest.raises(StoreError, match="locked"):
        mine.add_usage(used(Usage(TODAY, "k", 1)))
    reader.execute("COMMIT")
    reader.close()
    assert other.revision() == mine.revision()
    other.put_key(KEY)
    mine.add_usage(used(Usage(TODAY, "k", 1)))
    assert store.usage(TODAY) == [Usage(TODAY, "k", 1)]
    for each in (mine, other):
        each.close()


def test_others_write_while_keys_are_made_of_what_was_read(
    file: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many keys that takes long."""
    monkeypatch.setattr(sqlite, "PATIENCE_S", 0.1)
    other = SqliteStore(file)
    store.put_key(KEY)

    def slowly(plain: Any) -> ApiKey:
        other.add_usage(used(Usage(TODAY, "k", 1)))
        return key_from(plain)

    monkeypatch.setattr(sqlite, "key_from", slowly)
    assert store.read()[1].keys == {KEY.id: KEY}
    other.close()


def test_a_file_that_is_still_empty_is_opened_again(file: Path, store: SqliteStore) -> None:
    """A backup that is put back in two steps is read once it is whole, in the same file, and one that comes
    back to its place too."""
    store.put_key(KEY)
    store._db.execute("VACUUM INTO ?", (str(file.with_name("backup.db")),))
    backup = file.with_name("backup.db").read_bytes()
    file.rename(file.with_name("away.db"))
    file.touch(0o600)
    for _ in range(2):
        with pytest.raises(StoreError, match="no key store"):
            store.revision()
    file.write_bytes(backup)
    store.revision()
    assert store.read()[1].keys == {KEY.id: KEY}
    file.write_bytes(b"")
    file.unlink()
    file.touch(0o600)
    with pytest.raises(StoreError, match="no key store"):
        store.revision()
    file.with_name("away.db").replace(file)
    store.revision()
    assert store.read()[1].keys == {KEY.id: KEY}
