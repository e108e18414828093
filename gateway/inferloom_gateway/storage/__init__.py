"""What the gateway keeps: rows in SQLite, and a folder of contents, shared by all processes that name it."""
