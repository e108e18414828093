"""The store's schema: its versions in order, and how a database comes to the newest."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of the schema: what it adds to the one before."""

    name: str
    statements: tuple[str, ...]


class NewerSchemaError(Exception):
    """The database was written by a newer version of this software. Its message is for people."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring a database to the newest version; ``PRAGMA user_version`` counts the migrations that it has had.

    Several processes may do this at once.

    Raises:
        NewerSchemaError: It has had more migrations than are known.
        sqlite3.Error: It cannot be read or written.
    """
    if _version(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have done it meanwhile
        if version > len(migrations):
            raise NewerSchemaError(
                f"the store has schema version {version}, and this version of inferloom knows only"
                f" {len(migrations)}: use the newer version that wrote it, or another folder (--store)"
            )
        for migration in migrations[version:]:
            for statement in migration.statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
