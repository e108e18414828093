"""The migrations of the store's database, in order. What is here stays as it is: what changes is added."""

from inferloom_gateway.storage import batch_schema, poison_rows, rows, runs, streams
from inferloom_gateway.storage.migrations import Migration

_META = Migration("meta", ("CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",))

MIGRATIONS = (
    *(_META, rows.MIGRATION, runs.MIGRATION, batch_schema.MIGRATION, streams.MIGRATION),
    *(streams.PROMPTS, poison_rows.MIGRATION, streams.HELD, streams.MADE, batch_schema.ENDED, rows.PLACES),
    streams.DEADLINE,
)
