"""A store in one file, which all gateways read that see it."""

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inferloom_gateway.access.api_key import ApiKey, Policy, key_from, policy_from, to_plain
from inferloom_gateway.access.keyring import Keyring
from inferloom_gateway.access.stores.protocol import (
    MOST_KEYS,
    MOST_POLICIES,
    USAGE_DAYS,
    Flush,
    Kind,
    StoreError,
    StoreFullError,
    Usage,
)

SCHEMA = 1
"""Version of the tables, in the file's ``user_version``."""

PATIENCE_S = 4.0
"""How long a statement waits for another process that writes."""

_TABLES = """
CREATE TABLE revision (number INTEGER NOT NULL);
INSERT INTO revision VALUES (1);
CREATE TABLE keys (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE policies (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE usage (
  day TEXT NOT NULL, key TEXT NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL, PRIMARY KEY (day, key)
) WITHOUT ROWID;
"""

_ADD_USAGE = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?) ON CONFLICT (day, key) DO UPDATE SET
  requests = requests + excluded.requests, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens
"""


class SqliteStore:
    """A :class:`~inferloom_gateway.access.stores.protocol.KeyStore` in a SQLite database.

    SQLite's rollback journal makes every change whole or undone, whoever is killed meanwhile, and its locks
    order the processes. The file is its owner's alone: who can write to it can make keys.

    Args:
        path: The file.
        create: Make it if it is not there.

    Raises:
        StoreError: It is not there, is no such store, or others can write to it.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._inode: int | None = None
        self._lock = threading.Lock()
        with self._told():
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._open(create=create)

    def revision(self) -> str:
        """See the protocol. A file that was put in the place of this one, a backup say, is another
        revision."""
        with self._told():
            if self._path.stat().st_ino != self._inode:
                self._reopen()
            return self._revision()

    def read(self) -> tuple[str, Keyring]:
        """See the protocol."""
        with self._told():
            with self._whole("DEFERRED"):  # while it lasts nobody can write
                number = self._revision()
                bodies = self._db.execute("SELECT body FROM keys").fetchall()
                policies = self._db.execute("SELECT kind, name, body FROM policies").fetchall()
            keys = [key_from(json.loads(body)) for (body,) in bodies]
            found: dict[str, dict[str, Policy]] = {"tenant": {}, "model": {}}
            for kind, name, body in policies:
                found[kind][name] = policy_from(json.loads(body))
        return number, Keyring({key.id: key for key in keys}, found["tenant"], found["model"])

    def put_key(self, key: ApiKey) -> None:
        """See the protocol."""
        with self._transaction("IMMEDIATE"):
            if self._db.execute("SELECT count(*) FROM keys").fetchone()[0] >= MOST_KEYS:
                known = self._db.execute("SELECT 1 FROM keys WHERE id = ?", (key.id,)).fetchone()
                if known is None:
                    raise StoreFullError(f"The store has {MOST_KEYS} keys and takes no more.")
            self._put(key)

    def change_key(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """See the protocol."""
        with self._transaction("IMMEDIATE"):
            row = self._db.execute("SELECT body FROM keys WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                return None
            before = key_from(json.loads(row[0]))
            if (after := change(before)) != before:
                self._put(after)
            return after

    def put_policy(self, kind: Kind, name: str, policy: Policy | None) -> None:
        """See the protocol."""
        with self._transaction("IMMEDIATE"):
            if policy is None:
                self._db.execute("DELETE FROM policies WHERE kind = ? AND name = ?", (kind, name))
            else:
                if self._db.execute("SELECT count(*) FROM policies").fetchone()[0] >= MOST_POLICIES:
                    asked = "SELECT 1 FROM policies WHERE kind = ? AND name = ?"
                    if self._db.execute(asked, (kind, name)).fetchone() is None:
                        raise StoreFullError(f"The store has {MOST_POLICIES} limits and takes no more.")
                row = (kind, name, json.dumps(to_plain(policy)))
                self._db.execute("INSERT OR REPLACE INTO policies VALUES (?, ?, ?)", row)
            self._db.execute("UPDATE revision SET number = number + 1")

    def add_usage(self, flush: Flush) -> None:
        """See the protocol. What could not be written has not been."""
        oldest = (datetime.now(UTC) - timedelta(days=USAGE_DAYS)).date().isoformat()
        values = [(r.day, r.key, r.requests, r.prompt_tokens, r.completion_tokens) for r in flush.rows]
        with self._transaction("IMMEDIATE"):
            self._db.executemany(_ADD_USAGE, values)
            self._db.execute("DELETE FROM usage WHERE day < ?", (oldest,))

    def usage(self, since: str) -> list[Usage]:
        """See the protocol."""
        with self._told():
            found = self._db.execute("SELECT * FROM usage WHERE day >= ? ORDER BY day, key", (since,))
            return [Usage(*row) for row in found.fetchall()]

    def close(self) -> None:
        """See the protocol."""
        with self._lock:
            self._db.close()

    def _put(self, key: ApiKey) -> None:
        self._db.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (key.id, json.dumps(to_plain(key))))
        self._db.execute("UPDATE revision SET number = number + 1")

    def _revision(self) -> str:
        (number,) = self._db.execute("SELECT number FROM revision").fetchone()
        return f"{self._inode}:{number}"

    def _open(self, *, create: bool = False) -> None:
        path = self._path
        if not path.is_file():
            raise StoreError(f"there is no key store at {path} – `inferloom keys create` makes one")
        status = path.stat()
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StoreError(f"others can write to {path}, and so make keys – chmod 600 it")
        self._db = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(create)
        except BaseException:
            self._db.close()
            raise
        self._inode = status.st_ino

    def _reopen(self) -> None:
        """Open the file that has taken the place of the one that is open. Until that has succeeded none is: a
        file that is still being written is tried again."""
        self._inode = None
        self._db.close()
        self._open()

    def _prepare(self, create: bool) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0 and create:
            self._db.execute("BEGIN IMMEDIATE")
            if self._db.execute("PRAGMA user_version").fetchone() == (0,):  # no other was faster
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
            self._db.execute("COMMIT")
        elif version != SCHEMA:
            what = "of a newer version" if version > SCHEMA else "no key store"
            raise StoreError(f"{self._path} is {what}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except StoreError:
                raise
            except (sqlite3.Error, OSError, ValueError) as failure:
                raise StoreError(f"the key store {self._path} cannot be used: {failure}") from failure

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        with self._told(), self._whole(kind):
            yield

    @contextmanager
    def _whole(self, kind: str) -> Iterator[None]:
        """A transaction. One that cannot be committed is undone: left open, it would keep the file locked."""
        self._db.execute(f"BEGIN {kind}")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have undone it
                self._db.execute("ROLLBACK")
            raise
