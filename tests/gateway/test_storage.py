"""The store: rows and contents that several processes share."""

import asyncio
import shutil
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import connection, rows
from inferloom_gateway.storage import store as store_module
from inferloom_gateway.storage.failures import FailureLog, full
from inferloom_gateway.storage.ids import NOWHERE, new_id, store_in
from inferloom_gateway.storage.kinds import CHAT_COMPLETIONS, FILES
from inferloom_gateway.storage.migrations import Migration, NewerSchemaError, migrate
from inferloom_gateway.storage.reserve import SIZE, Reserve
from inferloom_gateway.storage.rows import Query, Row
from inferloom_gateway.storage.schema import MIGRATIONS
from inferloom_gateway.storage.storage import Storage
from inferloom_gateway.storage.store import DATABASE, Store
from inferloom_mesh.errors import InferloomError, Reason


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[Store]:
    """A store, as one process has it."""
    storage = Storage(GatewaySettings(store=folder, **settings))
    try:
        yield await storage.open()
    finally:
        await storage.close()


def row(name: str, tenant: str = "", **more: Any) -> Row:
    """A stored thing."""
    return Row(**{"id": name, "tenant": tenant, "created": time.time(), "document": b"{}", **more})


async def refused(doing: Any) -> InferloomError:
    """How something is refused."""
    with pytest.raises(InferloomError) as caught:
        await doing
    return caught.value


async def test_what_is_written_together_is_done_apart(tmp_path: Path) -> None:
    """Of many writes at once, each is done wholly or, where it fails, not at all."""
    async with opened(tmp_path) as store:
        files = store.documents(FILES)

        def fails(at: sqlite3.Connection) -> None:
            files.put_in(at, row("half"))
            raise InferloomError(Reason.INVALID_ARGUMENT, "no")

        good = [files.put(row(f"file-{n}")) for n in range(100)]
        ended = await asyncio.gather(*good, store.database.write(fails), return_exceptions=True)
        assert ended[:-1] == [None] * 100
        assert isinstance(ended[-1], InferloomError)
        listed = await files.page("", Query(limit=1000))
        assert {each.id for each in listed.rows} == {f"file-{n}" for n in range(100)}


async def test_two_processes_see_the_same(tmp_path: Path) -> None:
    """Both have the store's name, and each sees at once what the other wrote."""
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        assert one.id == other.id
        both = [one.documents(FILES), other.documents(FILES)]
        await asyncio.gather(*(both[n % 2].put(row(f"file-{n}")) for n in range(40)))
        for documents in both:
            assert len((await documents.page("", Query(limit=100))).rows) == 40


@pytest.mark.parametrize("journal", ["wal", "rollback"])
async def test_it_is_there_after_a_restart(tmp_path: Path, journal: str) -> None:
    """With either journal, and whatever a row holds."""
    kept = row("file-1", "a", document=b"\0\xff", labels={'k"': "v"}, extra=b"e", content_bytes=7, model="m")
    async with opened(tmp_path, store_journal=journal) as store:
        await store.documents(FILES).put(kept)
    async with opened(tmp_path, store_journal=journal) as store:
        assert await store.documents(FILES).get("a", "file-1") == kept


async def test_lists_go_on_behind_a_row(tmp_path: Path) -> None:
    """Newest first or oldest first, page by page, and only what bears the labels that are asked for."""
    async with opened(tmp_path) as store:
        files = store.documents(FILES)
        for n in range(5):
            await files.put(row(f"file-{n}", labels={"even": str(n % 2 == 0), "x.y": "z"}))
        first = await files.page("", Query(limit=2))
        second = await files.page("", Query(limit=2, after=first.rows[-1].id))
        third = await files.page("", Query(limit=2, after=second.rows[-1].id))
        assert [[r.id[-1] for r in page.rows] for page in (first, second, third)] == [
            ["4", "3"],
            ["2", "1"],
            ["0"],
        ]
        assert [page.has_more for page in (first, second, third)] == [True, True, False]
        oldest = await files.page("", Query(ascending=True, after="file-3"))
        assert [r.id for r in oldest.rows] == ["file-4"]
        labelled = await files.page("", Query(labels={"even": "False", "x.y": "z"}))
        assert [r.id for r in labelled.rows] == ["file-3", "file-1"]
        unknown = await refused(files.page("", Query(after="file-9")))
        assert (unknown.reason, unknown.param) == (Reason.INVALID_ARGUMENT, "after")


async def test_what_is_listed_can_be_deleted_meanwhile(tmp_path: Path) -> None:
    """The next page is behind the place of what is gone, for an hour; to others it was never there."""
    async with opened(tmp_path) as store:
        files = store.documents(FILES)
        for n in range(5):
            await files.put(row(f"file-{n}"))
        seen, after = list[str](), None
        while (page := await files.page("", Query(limit=2, after=after))).rows:
            for each in page.rows:
                seen.append(each.id)
                await files.delete("", each.id)
            after = seen[-1]
        assert seen == [f"file-{n}" for n in (4, 3, 2, 1, 0)]
        assert (await refused(files.page("other", Query(after=after)))).param == "after"
        await files.put(row("file-0"))
        await files.put(row("file-5"))
        assert [r.id for r in (await files.page("", Query(after="file-5"))).rows] == ["file-0"]
        await store.database.write(lambda at: rows.forget_places(at, time.time() + rows.PLACE_S + 1, 9))
        assert (await refused(files.page("", Query(after="file-1")))).param == "after"


async def test_lists_leave_out_what_is_not_listed(tmp_path: Path) -> None:
    """What a feature keeps besides, which may be long; what contents there are is still told."""
    async with opened(tmp_path) as store:
        files = store.documents(FILES)
        await files.put(row("file-1", extra=b"e" * 1000, content_bytes=7))
        (listed,) = (await files.page("", Query())).rows
        assert (listed.extra, listed.content_bytes, listed.document) == (b"", 7, b"{}")
        assert len((await files.get("", "file-1")).extra) == 1000


async def test_another_tenants_things_are_not_there(tmp_path: Path) -> None:
    """They cannot be read, changed, deleted, listed, or put in the way."""
    async with opened(tmp_path) as store:
        files = store.documents(FILES)
        await files.put(row("file-1", "a", document=b"1"))
        for doing in (
            files.get("b", "file-1"),
            files.delete("b", "file-1"),
            files.change("b", "file-1", lambda found: found),
        ):
            assert (await refused(doing)).reason is Reason.NOT_FOUND
        assert not (await files.page("b", Query())).rows
        await files.put(row("file-1", "b", document=b"2"))
        assert (await files.get("a", "file-1")).document == b"1"


async def test_another_stores_things_are_named_as_such(tmp_path: Path) -> None:
    """A gateway that has another store says in whose a thing is."""
    async with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        name = one.documents(FILES).new_id()
        assert store_in(name) == one.id != other.id
        said = (await refused(other.documents(FILES).get("", name))).message
        assert f"another gateway's store ({one.id})" in said
        own = (await refused(one.documents(FILES).get("", name))).message
        assert own == f"No such file: '{name}'."
        nobodys = (await refused(one.documents(FILES).get("", new_id("file-", NOWHERE)))).message
        assert "It was not kept" in nobodys


async def test_a_thing_ends_with_its_time(tmp_path: Path) -> None:
    """It is not seen from then on, and a sweep removes it and its content, whoever sweeps first."""
    async with opened(tmp_path) as store:
        files = store.documents(FILES)
        for name, age in (("file-aa", -1.0), ("file-bb", 60.0)):
            incoming = store.contents.create()
            incoming.write(b"content")
            incoming.complete()
            store.contents.keep(incoming, name)
            await files.put(row(name, expires=time.time() + age, content_bytes=7))
        assert (await refused(files.get("", "file-aa"))).reason is Reason.NOT_FOUND
        assert [r.id for r in (await files.page("", Query())).rows] == ["file-bb"]
        assert store.contents.path("file-aa").exists()
        await store.sweep()
        assert not store.contents.path("file-aa").exists()
        assert store.contents.path("file-bb").read_bytes() == b"content"
        await files.put(row("file-cc", expires=time.time() - 1))
        async with opened(tmp_path) as other:
            await other.sweep()  # it has just been done
        held = await store.database.read(lambda c: c.execute("SELECT items FROM totals").fetchone())
        assert held == (2,)


async def test_it_is_bounded_in_number_and_size(tmp_path: Path) -> None:
    """Stored answers make room by the oldest; files are refused; nobody loses by another tenant."""
    async with opened(tmp_path, store_max_items=2, store_max_bytes=2**20) as store:
        answers, files = store.documents(CHAT_COMPLETIONS), store.documents(FILES)
        for n in range(3):
            await answers.put(row(f"chatcmpl-{n}", "a"))
        await answers.put(row("chatcmpl-0", "b"))
        assert [r.id for r in (await answers.page("a", Query())).rows] == ["chatcmpl-2", "chatcmpl-1"]
        assert len((await answers.page("b", Query())).rows) == 1
        for n in range(2):
            await files.put(row(f"file-{n}"))
        assert (await refused(files.put(row("file-2")))).reason is Reason.STORAGE_QUOTA_EXCEEDED
        await files.delete("", "file-0")
        full = await refused(files.put(row("file-3", document=bytes(2**20))))
        assert (full.reason, full.row.http) == (Reason.STORAGE_FULL, 507)
        await files.put(row("file-3"))
        assert (await refused(store.check_room(2**20))).reason is Reason.STORAGE_FULL


async def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    """SQLite's and the folder's own; what was there before still is, and there is room again later."""
    async with opened(tmp_path, store_spare_bytes=2**62) as store:
        assert (await refused(store.check_room())).reason is Reason.STORAGE_FULL
        files = store.documents(FILES)
        await files.put(row("file-1"))

        def limit(pages: int) -> Any:
            return lambda at: at.execute(f"PRAGMA max_page_count = {pages}")

        await store.database.write(limit(1))  # becomes what it has
        assert (await refused(files.put(row("file-2", document=bytes(2**20))))).reason is Reason.STORAGE_FULL
        await store.database.write(limit(2**30))
        await files.put(row("file-2", document=bytes(2**20)))
        assert len((await files.page("", Query())).rows) == 2


async def test_on_a_full_disk_things_can_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room that is kept for that, since SQLite writes before it deletes; it is kept again later."""
    async with opened(tmp_path) as store:
        files, reserve = store.documents(FILES), tmp_path / "contents" / "reserve"
        await files.put(row("file-1"))
        await files.put(row("file-2", expires=time.time() + 0.1))
        assert reserve.stat().st_size == SIZE
        write = store.database.write

        async def on_full_disk(work: Any) -> Any:
            if reserve.exists():
                raise full()
            return await write(work)

        with monkeypatch.context() as patched:
            patched.setattr(store.database, "write", on_full_disk)
            await files.delete("", "file-1")
            assert (await refused(files.get("", "file-1"))).reason is Reason.NOT_FOUND
            store.contents.reserve.fill()
            await asyncio.sleep(0.1)
            await store.sweep()
        held = await store.database.read(lambda c: c.execute("SELECT items FROM totals").fetchone())
        assert held == (0,)
        assert reserve.stat().st_size == SIZE


async def test_on_a_full_disk_all_that_delete_at_once_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that find that another has given the reserve up."""
    async with opened(tmp_path) as store:
        files, write, tried = store.documents(FILES), store.database.write, list[Any]()
        names = [f"file-{n}" for n in range(4)]
        for name in names:
            await files.put(row(name))

        async def on_full_disk(work: Any) -> Any:
            tried.append(work)
            if len(tried) <= len(names):
                raise full()
            return await write(work)

        monkeypatch.setattr(store.database, "write", on_full_disk)
        await asyncio.gather(*(files.delete("", name) for name in names))
        assert not (await files.page("", Query())).rows


async def test_the_reserve_is_kept_for_what_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that finds nothing to remove on a full disk leaves it."""

    async def on_full_disk(work: Any) -> Any:
        raise full()

    async with opened(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(store.database, "write", on_full_disk)
            assert (await refused(store.sweep())).reason is Reason.STORAGE_FULL
        assert (tmp_path / "contents" / "reserve").stat().st_size == SIZE


def test_the_reserve_takes_room(tmp_path: Path) -> None:
    """Where the file system compresses too; one that was broken off is made whole."""
    reserve = Reserve(tmp_path / "reserve")
    (tmp_path / "reserve").write_bytes(b"short")
    reserve.fill()
    assert len(zlib.compress((tmp_path / "reserve").read_bytes(), 1)) > SIZE * 0.9


def test_a_reserve_is_not_made_of_what_others_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a version that made smaller ones stays until there is room."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=SIZE - 1))
    (tmp_path / "reserve").write_bytes(b"small")
    Reserve(tmp_path / "reserve").fill()
    assert (tmp_path / "reserve").read_bytes() == b"small"


async def test_many_expired_things_and_places_are_removed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part fits into the reserve; all are gone after one sweep."""
    monkeypatch.setattr(store_module, "_AT_ONCE", 3)
    async with opened(tmp_path) as store:
        files = store.documents(FILES)
        for number in range(8):
            await files.put(row(f"file-{number}", expires=time.time() + 0.2))
            await files.put(row(f"file-b{number}"))
            await files.delete("", f"file-b{number}")
        await store.database.write(lambda at: at.execute("UPDATE deleted SET at = 0").rowcount)
        await asyncio.sleep(0.2)
        await store.sweep()
        left = "SELECT (SELECT COUNT(*) FROM documents), (SELECT COUNT(*) FROM deleted WHERE at = 0)"
        assert await store.database.read(lambda at: at.execute(left).fetchone()) == (0, 0)


def test_a_store_that_another_has_open_keeps_its_wal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling upgrade to a rollback journal waits until all are stopped, and is served meanwhile; but where
    that journal is asked for by name, the other may be another machine's."""
    monkeypatch.setattr(connection, "BUSY_S", 0.05)
    monkeypatch.setattr(connection, "local", lambda path: False)
    path = tmp_path / DATABASE
    old = connection.connect(path, "wal")
    old.execute("CREATE TABLE words (word TEXT)")
    with pytest.raises(sqlite3.OperationalError):
        connection.connect(path, "rollback")
    new = connection.connect(path, "auto")
    new.execute("INSERT INTO words VALUES ('new')")
    assert old.execute("SELECT word FROM words").fetchall() == [("new",)]
    assert "keeps its WAL" in caplog.text
    old.close()
    new.close()
    last = connection.connect(path, "auto")
    assert last.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    last.close()


async def test_a_folder_that_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    """The caller hears that the store cannot be used, and the log says why."""
    (tmp_path / "taken").write_text("")
    failure = await refused(Storage(GatewaySettings(store=tmp_path / "taken")).open())
    assert (failure.reason, failure.row.http) == (Reason.STORAGE_UNAVAILABLE, 503)
    (tmp_path / DATABASE).write_text("this is no database, by far" * 100)
    assert (await refused(Storage(GatewaySettings(store=tmp_path)).open())).reason is (
        Reason.STORAGE_UNAVAILABLE
    )


async def test_without_a_store_nothing_is_served(tmp_path: Path) -> None:
    """``--no-store``: who asks is told so, and no folder is made."""
    storage = Storage(GatewaySettings(store=tmp_path / "store", no_store=True))
    failure = await refused(storage.open())
    assert (failure.reason, "--no-store" in failure.message) == (Reason.NOT_FOUND, True)
    assert not storage.used
    assert not (tmp_path / "store").exists()


async def test_a_newer_schema_is_refused_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A store that a newer version wrote is left alone, and the log says what to do."""
    async with opened(tmp_path):
        pass
    with sqlite3.connect(tmp_path / DATABASE) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    storage = Storage(GatewaySettings(store=tmp_path))
    for _ in range(3):
        assert (await refused(storage.open())).reason is Reason.STORAGE_UNAVAILABLE
    assert caplog.text.count("schema version 999") == 1  # said once, however often it is tried


def test_what_is_wrong_with_a_store_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """And at once where it is something else."""
    now = 0.0
    said = FailureLog(lambda: now)
    for now, words in ((0.0, "a"), (59.0, "a"), (60.0, "a"), (61.0, "b"), (62.0, "b")):  # noqa: B007
        said.say(OSError(words))
    assert [message[-1] for message in caplog.messages] == ["a", "a", "b"]


def test_an_older_schema_is_brought_forward(tmp_path: Path) -> None:
    """Migrations are done in order, each once; one that fails leaves the database as it was."""
    database = connection.connect(tmp_path / DATABASE, "auto")
    migrate(database, MIGRATIONS[:1])
    migrate(database, MIGRATIONS)
    database.execute("SELECT * FROM documents")
    broken = (*MIGRATIONS, Migration("broken", ("CREATE TABLE half (a)", "CREATE TABLE meta (a)")))
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, broken)
    assert database.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchone() is None
    with pytest.raises(NewerSchemaError, match="knows only 1"):
        migrate(database, MIGRATIONS[:1])
    database.close()


def test_file_systems_that_machines_may_share_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the deepest mount that a path is in; what is not known may be shared."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /shared\\040folder rw - nfs4 host:/x rw\n"
        "3 2 8:2 / /shared\\040folder/disk rw - xfs /dev/sdb rw\n"
        "4 1 0:6 / /gluster rw - fuse.glusterfs host:/x rw\n5 1 0:7 / /host rw - virtiofs host rw\n"
        "6 1 0:8 / /new rw - fs-of-tomorrow x rw\n"
    )
    monkeypatch.setattr(connection, "_MOUNTS", mounts)
    for shared in ("/shared folder/store", "/gluster", "/host/store", "/new/store"):
        assert not connection.local(Path(shared))
    assert connection.local(Path("/shared folder/disk/store"))
    assert connection.local(Path("/elsewhere"))
    monkeypatch.setattr(connection, "_MOUNTS", tmp_path / "not there")
    assert connection.local(Path("/elsewhere"))


def test_names_cannot_be_guessed() -> None:
    """Two are never alike, and other names tell of no store."""
    assert len({new_id("batch_", "abc123") for _ in range(1000)}) == 1000
    assert store_in(new_id("batch_", "abc123")) == "abc123"
    assert store_in("file-abc123") is None
    assert store_in("../../etc/passwd") is None


def under(folder: Path) -> list[Path]:
    """All that is in a folder."""
    return sorted(folder.rglob("*"))


async def test_who_is_cancelled_leaves_no_open_store_behind(tmp_path: Path) -> None:
    """Whoever waits for it to be opened may go; it is closed all the same, and opened no more."""
    storage = Storage(GatewaySettings(store=tmp_path / "store"))
    waiting = asyncio.create_task(storage.open())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await storage.close()
    there = await asyncio.to_thread(under, tmp_path)
    assert not [path for path in there if path.name.endswith("-wal")]
    with pytest.raises(InferloomError):
        await storage.open()
    await asyncio.sleep(0.2)
    assert await asyncio.to_thread(under, tmp_path) == there
