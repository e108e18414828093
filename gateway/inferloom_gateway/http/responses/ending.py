"""How a response in background ends that its own process does not end. Synchronous, for a transaction."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace

import orjson

from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.storage import rows, runs
from inferloom_gateway.storage.kinds import RESPONSES
from inferloom_gateway.storage.rows import Row
from inferloom_mesh.errors import InferloomError, Reason

_ITEM_DONE = "response.output_item.done"
_AT_ONCE = 16

LEFT_BEHIND = InferloomError(
    Reason.WORKER_LOST, "The gateway process that made this response ended before it was done."
)


def is_lost(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a response is under way, and the process that makes it dead."""
    run = runs.find(connection, name)
    return run is not None and run.claimed_until < time.time()


def stop(connection: sqlite3.Connection, row: Row, end: Callable[[Document], None]) -> Document:
    """End a response with the items that were whole by then."""
    found: Document = orjson.loads(row.document)
    found["output"] = _whole_items(connection, row.id)
    end(found)
    update(connection, row.tenant, row.id, found)
    runs.release(connection, row.id)
    return found


def _whole_items(connection: sqlite3.Connection, name: str) -> list[Item]:
    after, items = -1, []
    while chunks := runs.events(connection, name, after, _AT_ONCE):
        for chunk in chunks:
            after = chunk.first + len(chunk.lines) - 1
            items += [
                orjson.loads(line)["item"]
                for line in chunk.lines
                if kind_of(line) == "response.output_item.done"
            ]
    return items


def kind_of(line: bytes) -> str:
    """The type of an event, which its JSON begins with."""
    begin = len(b'{"type":"')
    return line[begin : line.index(b'"', begin)].decode()


def update(connection: sqlite3.Connection, tenant: str, name: str, made: Document) -> None:
    """Keep a response as it stands; what its events take counts with it."""
    row = rows.get(connection, RESPONSES.name, tenant, name, 0)
    if row is not None:
        size = runs.event_bytes(connection, name)
        changed = replace(row, document=orjson.dumps(made), status=made["status"], content_bytes=size)
        rows.update(connection, RESPONSES.name, changed)
