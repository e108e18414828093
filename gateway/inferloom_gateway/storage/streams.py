"""Resumable streams: what was asked for, and the events that came of it. They are written before anybody sees
them."""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inferloom_gateway.storage.migrations import Migration
from inferloom_mesh.errors import InferloomError, Reason, overloaded

MIGRATION = Migration(
    "streams",
    (
        """CREATE TABLE streams (
            tenant TEXT NOT NULL, id TEXT NOT NULL, endpoint TEXT NOT NULL, body BLOB NOT NULL,
            created INTEGER NOT NULL, seconds REAL NOT NULL, compute_hash TEXT NOT NULL, owner TEXT NOT NULL,
            claimed_until REAL NOT NULL, wanted_until REAL NOT NULL, over TEXT, bytes INTEGER NOT NULL,
            PRIMARY KEY (tenant, id)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE stream_events (
            tenant TEXT NOT NULL, id TEXT NOT NULL, first INTEGER NOT NULL, events BLOB NOT NULL,
            PRIMARY KEY (tenant, id, first)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER streams_deleted AFTER DELETE ON streams BEGIN
            DELETE FROM stream_events WHERE tenant = old.tenant AND id = old.id;
        END""",
    ),
)

PROMPTS = Migration(
    "prompts of streams", ("ALTER TABLE streams ADD COLUMN prompts INTEGER NOT NULL DEFAULT 1",)
)

HELD = Migration(
    "what streams hold", ("CREATE INDEX streams_held ON streams (tenant, over, prompts, bytes)",)
)

MADE = Migration(
    "which streams are made",
    (
        "DROP INDEX streams_held",
        "CREATE INDEX streams_held ON streams (tenant, over, claimed_until, prompts, bytes)",
    ),
)

DEADLINE = Migration("deadlines of streams", ("ALTER TABLE streams ADD COLUMN deadline REAL",))

MOST_PROMPTS = 64
"""Prompts of one stream."""

LEAST_BYTES = 16 * 2**10
"""What a stream counts for at least, so that there are not too many to add up."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there may be at once."""

    prompts: int
    """Prompts that are being answered."""
    size: int
    """Bytes of requests and events, for which streams that are over give way."""


OF_TENANT = Bounds(64, 64 * 2**20)
OF_ALL = Bounds(4096, 256 * 2**20)
"""The prompts of a store, whoever asked; and all that those have together who show no key, and so cannot be
told apart."""

_AT_ONCE = 16
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class KeptStream:
    """One stream. Moments are seconds since 1970."""

    tenant: str
    id: str
    endpoint: str
    body: bytes
    """The request, as its endpoint keeps it."""
    created: int
    seconds: float
    """For how long it goes on, and is kept, while nobody reads."""
    compute_hash: str = ""
    """What computes it; empty until a worker has accepted it, or where that does not say."""
    owner: str = ""
    """The process that makes it, by a name that no other has."""
    claimed_until: float = 0.0
    """Past it the owner is taken for dead."""
    wanted_until: float = 0.0
    over: str | None = None
    """How it ended: empty, or an error as ``REASON message``. None: it has not."""
    prompts: int = 1
    """How many it answers, each with a generation of its own."""
    deadline: float | None = None
    """When its first caller wants it to be over. None: he does not say."""


_COLUMNS = (
    "tenant, id, endpoint, body, created, seconds, compute_hash, owner, claimed_until, wanted_until, over,"
    " prompts, deadline"
)


def begin(connection: sqlite3.Connection, stream: KeptStream, now: float) -> None:
    """Keep a stream that is to be made.

    Raises:
        InferloomError: There is one of this name, or there are as many as may be.
    """
    connection.execute("DELETE FROM streams WHERE MAX(claimed_until, wanted_until) < ?", (now,))
    found = connection.execute(
        "SELECT 1 FROM streams WHERE tenant = ? AND id = ?", (stream.tenant, stream.id)
    )
    if found.fetchone() is not None:
        message = "There is a resumable stream of this request's name already."
        raise InferloomError(Reason.ALREADY_EXISTS, message)
    # One whose process is dead is not being made, and may never be.
    made = "SELECT COALESCE(SUM(prompts), 0) FROM streams WHERE over IS NULL AND claimed_until >= ?"
    (every,) = connection.execute(made, (now,)).fetchone()
    if every + stream.prompts > OF_ALL.prompts:
        message = f"{every} prompts are being answered as resumable streams, of {OF_ALL.prompts} at most."
        raise overloaded(message, retry_after=5.0)
    (own,) = connection.execute(f"{made} AND tenant = ?", (now, stream.tenant)).fetchone()
    most = _bounds(stream.tenant).prompts
    if own + stream.prompts > most:
        message = f"{own} of your prompts are being answered as resumable streams, of {most} at most."
        raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=5.0)
    size = max(LEAST_BYTES, len(stream.body))
    _make_room(connection, stream.tenant, size)
    connection.execute(
        f"INSERT INTO streams ({_COLUMNS}, bytes) VALUES ({', '.join('?' * 14)})",  # noqa: S608 # no input
        (
            *(stream.tenant, stream.id, stream.endpoint, stream.body, stream.created, stream.seconds),
            *(stream.compute_hash, stream.owner, stream.claimed_until, stream.wanted_until, stream.over),
            *(stream.prompts, stream.deadline, size),
        ),
    )


def find(connection: sqlite3.Connection, tenant: str, name: str, now: float) -> KeptStream | None:
    """A tenant's stream; None: there is none, or not any more."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM streams WHERE tenant = ? AND id = ?",  # noqa: S608 # no input
        (tenant, name),
    ).fetchone()
    kept = None if found is None else KeptStream(*found)
    return None if kept is None or max(kept.claimed_until, kept.wanted_until) < now else kept


def append(connection: sqlite3.Connection, stream: KeptStream, first: int, events: Sequence[bytes]) -> bool:
    """Add events, and renew the claim and what computes as the stream says; False: another process makes it,
    or nobody.

    Raises:
        InferloomError: There is more than is kept of a tenant.
    """
    data = b"".join(_LENGTH.pack(len(event)) + event for event in events)
    if data:
        _make_room(connection, stream.tenant, len(data))
    renewed = connection.execute(
        "UPDATE streams SET claimed_until = ?, wanted_until = MAX(wanted_until, ?), over = ?,"
        " compute_hash = ?, bytes = bytes + ? WHERE tenant = ? AND id = ? AND owner = ? AND over IS NULL",
        (
            *(stream.claimed_until, stream.wanted_until, stream.over, stream.compute_hash, len(data)),
            *(stream.tenant, stream.id, stream.owner),
        ),
    )
    if renewed.rowcount == 1 and data:
        connection.execute(
            "INSERT INTO stream_events VALUES (?, ?, ?, ?)", (stream.tenant, stream.id, first, data)
        )
    return renewed.rowcount == 1


def take_over(connection: sqlite3.Connection, stream: KeptStream, now: float) -> bool:
    """Make ``stream.owner`` the one who makes it, if he who did is dead; whether that is so."""
    taken = connection.execute(
        "UPDATE streams SET owner = ?, claimed_until = ?"
        " WHERE tenant = ? AND id = ? AND over IS NULL AND claimed_until < ?",
        (stream.owner, stream.claimed_until, stream.tenant, stream.id, now),
    )
    return taken.rowcount == 1


def want(connection: sqlite3.Connection, tenant: str, name: str, until: float) -> None:
    """Say that somebody reads, or may come back until then."""
    connection.execute(
        "UPDATE streams SET wanted_until = MAX(wanted_until, ?) WHERE tenant = ? AND id = ?",
        (until, tenant, name),
    )


def release(connection: sqlite3.Connection, tenant: str, name: str, owner: str) -> None:
    """Let anybody else go on with it."""
    connection.execute(
        "UPDATE streams SET claimed_until = 0 WHERE tenant = ? AND id = ? AND owner = ? AND over IS NULL",
        (tenant, name, owner),
    )


def forget(connection: sqlite3.Connection, tenant: str, name: str, owner: str) -> None:
    """Forget what its owner gives up."""
    connection.execute("DELETE FROM streams WHERE tenant = ? AND id = ? AND owner = ?", (tenant, name, owner))


def events(connection: sqlite3.Connection, tenant: str, name: str, first: int) -> list[bytes]:
    """Some of the events from the ``first`` on."""
    found = connection.execute(
        "SELECT first, events FROM stream_events WHERE tenant = :tenant AND id = :id AND first >= COALESCE("
        "(SELECT MAX(first) FROM stream_events WHERE tenant = :tenant AND id = :id AND first <= :first), 0)"
        " ORDER BY first LIMIT :most",
        {"tenant": tenant, "id": name, "first": first, "most": _AT_ONCE},
    ).fetchall()
    made = [event for _, data in found for event in _split(data)]
    return made[first - found[0][0] :] if found else []


def _bounds(tenant: str) -> Bounds:
    return OF_TENANT if tenant else OF_ALL


def _make_room(connection: sqlite3.Connection, tenant: str, size: int) -> None:
    """See to it that a tenant may have so many bytes more: of its streams that are over, those go first that
    would have been kept for the shortest time.

    Raises:
        InferloomError: Those that are being made hold too many.
    """
    most = _bounds(tenant).size
    found = connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM streams WHERE tenant = ?", (tenant,))
    over = int(found.fetchone()[0]) + size - most
    if over <= 0:
        return
    ended = connection.execute(
        "SELECT id, bytes FROM streams WHERE tenant = ? AND over IS NOT NULL ORDER BY wanted_until", (tenant,)
    )
    for name, freed in ended.fetchall():
        connection.execute("DELETE FROM streams WHERE tenant = ? AND id = ?", (tenant, name))
        over -= freed
        if over <= 0:
            return
    message = f"Resumable streams hold as many bytes as may be kept, {most // 2**20} MiB."
    raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=5.0)


def _split(data: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        (size,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        yield data[place : place + size]
        place += size
