"""Rows that hold documents: what several features keep, in one table. Synchronous, for a transaction."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferloom_gateway.storage.migrations import Migration

MIGRATION = Migration(
    "documents",
    (
        """CREATE TABLE documents (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL,
            created REAL NOT NULL, expires REAL, status TEXT NOT NULL, model TEXT NOT NULL,
            labels TEXT NOT NULL, document BLOB NOT NULL, extra BLOB NOT NULL, bytes INTEGER NOT NULL,
            UNIQUE (kind, tenant, id)
        ) STRICT""",
        "CREATE INDEX documents_order ON documents (kind, tenant, seq)",
        "CREATE INDEX documents_names ON documents (id)",
        "CREATE INDEX documents_expiry ON documents (expires) WHERE expires IS NOT NULL",
        # What each tenant has of each kind, kept by the database itself.
        """CREATE TABLE totals (
            kind TEXT NOT NULL, tenant TEXT NOT NULL, items INTEGER NOT NULL, bytes INTEGER NOT NULL,
            PRIMARY KEY (kind, tenant)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER documents_inserted AFTER INSERT ON documents BEGIN
            INSERT INTO totals VALUES (new.kind, new.tenant, 1, new.bytes)
            ON CONFLICT DO UPDATE SET items = items + 1, bytes = bytes + new.bytes;
        END""",
        """CREATE TRIGGER documents_deleted AFTER DELETE ON documents BEGIN
            UPDATE totals SET items = items - 1, bytes = bytes - old.bytes
            WHERE kind = old.kind AND tenant = old.tenant;
        END""",
        """CREATE TRIGGER documents_updated AFTER UPDATE OF bytes ON documents BEGIN
            UPDATE totals SET bytes = bytes - old.bytes + new.bytes
            WHERE kind = old.kind AND tenant = old.tenant;
        END""",
    ),
)

PLACES = Migration(
    "places of deleted documents",
    (
        """CREATE TABLE deleted (
            kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL,
            at REAL NOT NULL, PRIMARY KEY (kind, tenant, id)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX deleted_at ON deleted (at)",
    ),
)

PLACE_S = 3600.0
"""How long it is known where in lists a document was: programs delete what they list, page by page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stored thing. Moments are seconds since 1970."""

    id: str
    """Unique among its tenant's things of its kind."""
    tenant: str
    created: float
    expires: float | None = None
    """When it is gone; None: never."""
    status: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What its owner wrote on it: ``metadata``, by which lists can be filtered."""
    document: bytes
    """JSON: what is answered when it is asked for."""
    extra: bytes = b""
    """What else its feature keeps of it."""
    content_bytes: int = 0
    """What it has besides: in the folder of contents, and a batch's results."""

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.document) + len(self.extra) + self.content_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which rows of a tenant are listed, and in which order."""

    after: str | None = None
    """Those behind the row of this id, which may have been deleted meanwhile."""
    limit: int = 20
    ascending: bool = False
    """Whether the oldest come first."""
    status: str | None = None
    model: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """All of these must be on a row."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order, without their ``extra``, and whether there are more behind them."""

    rows: Sequence[Row]
    has_more: bool


_COLUMNS = "id, tenant, created, expires, status, model, labels, document, extra, bytes"
_LISTED = "id, tenant, created, expires, status, model, labels, document, x'', bytes - LENGTH(extra)"
"""The same without ``extra``, which may be far longer than what is listed."""

_LIVE = "(expires IS NULL OR expires > :now)"
_LABEL = "EXISTS (SELECT 1 FROM json_each(labels) WHERE key = :key{number} AND value = :value{number})"
_KEY = "kind = :kind AND tenant = :tenant AND id = :id"


def put(connection: sqlite3.Connection, kind: str, row: Row) -> None:
    """Insert a row; one of the same name is replaced."""
    connection.execute(f"DELETE FROM documents WHERE {_KEY}", _key(kind, row.tenant, row.id))
    connection.execute(
        f"INSERT INTO documents (kind, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (kind, *_values(row)),
    )


def update(connection: sqlite3.Connection, kind: str, row: Row) -> None:
    """Change what a row that is there holds; it stays where it is in lists."""
    connection.execute(
        "UPDATE documents SET expires = ?, status = ?, model = ?, labels = ?, document = ?, extra = ?,"
        " bytes = ? WHERE kind = ? AND tenant = ? AND id = ?",
        (*_values(row)[3:], kind, row.tenant, row.id),
    )


def get(connection: sqlite3.Connection, kind: str, tenant: str, name: str, now: float) -> Row | None:
    """A row that has not expired."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM documents WHERE {_KEY} AND {_LIVE}",
        {**_key(kind, tenant, name), "now": now},
    ).fetchone()
    return None if found is None else _row(found)


def anybodys(connection: sqlite3.Connection, kind: str, name: str) -> Row | None:
    """A row whose name only this software gives."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM documents WHERE id = ? AND kind = ?",
        (name, kind),
    ).fetchone()
    return None if found is None else _row(found)


def delete(connection: sqlite3.Connection, kind: str, tenant: str, name: str, now: float) -> bool:
    """Delete a row; whether it was there."""
    there = get(connection, kind, tenant, name, now) is not None
    connection.execute(f"DELETE FROM documents WHERE {_KEY}", _key(kind, tenant, name))
    return there


def take_out(connection: sqlite3.Connection, kind: str, tenant: str, name: str, now: float) -> bool:
    """Delete a row whose owner may be going through a list; whether it was there."""
    connection.execute(
        f"INSERT OR REPLACE INTO deleted SELECT kind, tenant, id, seq, :now FROM documents WHERE {_KEY}",
        {**_key(kind, tenant, name), "now": now},
    )
    return delete(connection, kind, tenant, name, now)


def forget_places(connection: sqlite3.Connection, now: float, most: int) -> int:
    """Forget where in lists some of those were that have long been deleted; how many."""
    return connection.execute(
        "DELETE FROM deleted WHERE (kind, tenant, id) IN"
        " (SELECT kind, tenant, id FROM deleted WHERE at < ? ORDER BY at LIMIT ?)",
        (now - PLACE_S, most),
    ).rowcount


def page(connection: sqlite3.Connection, kind: str, tenant: str, query: Query, now: float) -> Page | None:
    """Rows of a tenant; None if the row that they are to be behind is not there, nor was lately."""
    where = ["kind = :kind", "tenant = :tenant", _LIVE]
    values: dict[str, object] = {"kind": kind, "tenant": tenant, "now": now, "limit": query.limit + 1}
    if query.after is not None:
        at = _key(kind, tenant, query.after)
        place = f"SELECT seq FROM documents WHERE {_KEY} UNION ALL SELECT seq FROM deleted WHERE {_KEY}"
        found = connection.execute(place, at).fetchone()
        if found is None:
            return None
        where.append("seq > :seq" if query.ascending else "seq < :seq")
        values["seq"] = found[0]
    for column, wanted in (("status", query.status), ("model", query.model)):
        if wanted is not None:
            where.append(f"{column} = :{column}")
            values[column] = wanted
    for number, (key, value) in enumerate(query.labels.items()):
        where.append(_LABEL.format(number=number))
        values |= {f"key{number}": key, f"value{number}": value}
    order = "ASC" if query.ascending else "DESC"
    found_rows = connection.execute(
        f"SELECT {_LISTED} FROM documents WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT :limit",
        values,
    ).fetchall()
    return Page([_row(each) for each in found_rows[: query.limit]], len(found_rows) > query.limit)


def expired(connection: sqlite3.Connection, now: float, most: int) -> Sequence[tuple[str, Row]]:
    """Rows whose time is over, with their kinds."""
    found = connection.execute(
        f"SELECT kind, {_COLUMNS} FROM documents WHERE expires <= ? ORDER BY expires LIMIT ?",
        (now, most),
    ).fetchall()
    return [(kind, _row(rest)) for kind, *rest in found]


def oldest(connection: sqlite3.Connection, kind: str, tenant: str, most: int) -> Sequence[str]:
    """The ids of a tenant's oldest rows of a kind."""
    found = connection.execute(
        "SELECT id FROM documents WHERE kind = ? AND tenant = ? ORDER BY seq LIMIT ?", (kind, tenant, most)
    )
    return [name for (name,) in found]


def exists(connection: sqlite3.Connection, name: str) -> bool:
    """Whether anybody has something of this name."""
    return connection.execute("SELECT 1 FROM documents WHERE id = ?", (name,)).fetchone() is not None


def grow(connection: sqlite3.Connection, kind: str, tenant: str, name: str, by: int) -> None:
    """Let a row count for so many bytes more, for what it has elsewhere in the database."""
    values = {**_key(kind, tenant, name), "by": by}
    connection.execute(f"UPDATE documents SET bytes = bytes + :by WHERE {_KEY}", values)


def held(connection: sqlite3.Connection, kind: str, tenant: str) -> int:
    """How many rows of a kind a tenant has."""
    found = connection.execute("SELECT items FROM totals WHERE kind = ? AND tenant = ?", (kind, tenant))
    return next((items for (items,) in found), 0)


def total_bytes(connection: sqlite3.Connection) -> int:
    """Bytes that all rows count for, with their contents."""
    size: int = connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM totals").fetchone()[0]
    return size


def _key(kind: str, tenant: str, name: str) -> dict[str, object]:
    return {"kind": kind, "tenant": tenant, "id": name}


def _values(row: Row) -> tuple[object, ...]:
    return (
        row.id,
        row.tenant,
        row.created,
        row.expires,
        row.status,
        row.model,
        json.dumps(dict(row.labels)),
        row.document,
        row.extra,
        row.size,
    )


def _row(found: Sequence[object]) -> Row:
    name, tenant, created, expires, status, model, labels, document, extra, size = found
    assert isinstance(document, bytes)
    assert isinstance(extra, bytes)
    assert isinstance(size, int)
    return Row(
        id=str(name),
        tenant=str(tenant),
        created=float(str(created)),
        expires=None if expires is None else float(str(expires)),
        status=str(status),
        model=str(model),
        labels=json.loads(str(labels)),
        document=document,
        extra=extra,
        content_bytes=size - len(document) - len(extra),
    )
