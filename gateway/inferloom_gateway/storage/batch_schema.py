"""The tables of batches, as migrations make them."""

from inferloom_gateway.storage.migrations import Migration

MIGRATION = Migration(
    "batches",
    (
        """CREATE TABLE batch_work (
            batch TEXT PRIMARY KEY, tenant TEXT NOT NULL, step TEXT NOT NULL, outcome TEXT NOT NULL,
            expires REAL NOT NULL, owner TEXT
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE batch_chunks (
            batch TEXT NOT NULL, chunk INTEGER NOT NULL, begins INTEGER NOT NULL, bytes INTEGER NOT NULL,
            line INTEGER NOT NULL, lines INTEGER NOT NULL, answered INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, owner TEXT,
            PRIMARY KEY (batch, chunk)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX batch_chunks_open ON batch_chunks (batch, done, owner, chunk)",
        """CREATE TABLE batch_results (
            batch TEXT NOT NULL, chunk INTEGER NOT NULL, line INTEGER NOT NULL, failed INTEGER NOT NULL,
            usage TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (batch, chunk, line)
        ) STRICT""",
        "CREATE TABLE runners (id TEXT PRIMARY KEY, beat INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ),
)

ENDED = Migration(
    "ended batches",  # whose input was deleted, and still counted
    (
        "UPDATE documents SET bytes = LENGTH(document) + LENGTH(extra)"
        " WHERE kind = 'batch' AND id NOT IN (SELECT batch FROM batch_work)",
    ),
)
