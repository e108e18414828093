"""Batches as their owners see them."""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from inferloom_gateway.storage import batch_chunks, batch_lifecycle, batch_work, rows
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.kinds import BATCHES, FILES
from inferloom_gateway.storage.rows import Query, Row
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, Reason, invalid

WINDOW_S = 86_400.0
"""How long a batch has."""

_NOTHING = {"total": 0, "completed": 0, "failed": 0}
_ENDING = ("cancelling",)
_CANCELLABLE = ("validating", "in_progress")

Document = Mapping[str, Any]


class Batches:
    """The batches of one store. All methods raise InferloomError if it cannot be used."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = store.documents(BATCHES)
        self._files = store.documents(FILES)

    async def accept(self, tenant: str, asked: Document, extra: Document, age_s: float) -> Document:
        """Take a new batch; return what is known of it.

        Args:
            tenant: Whose it is.
            asked: Its ``endpoint``, ``input_file_id``, ``completion_window`` and ``metadata``.
            extra: What its runner must know besides.
            age_s: How long it is remembered after it has ended, in seconds.

        Raises:
            InferloomError: Its input is not there, or there is no room for its results.
        """
        name = asked["input_file_id"]
        try:
            file = await self._files.get(tenant, name)
        except InferloomError as failure:
            raise invalid("input_file_id", failure.message) from None
        if file.status != "batch":
            raise invalid("input_file_id", f"Invalid 'input_file_id': '{name}' has not the purpose 'batch'.")
        await self._store.check_room(2 * file.content_bytes)  # answers are about as long as requests, twice
        batch, now = self._documents.new_id(), time.time()
        document = {
            "id": batch,
            "object": "batch",
            **asked,
            "status": "validating",
            "created_at": int(now),
            "expires_at": int(now + WINDOW_S),
        }
        row = Row(
            id=batch,
            tenant=tenant,
            created=now,
            expires=now + WINDOW_S + age_s,
            status="validating",
            labels=asked.get("metadata") or {},
            document=json.dumps(document).encode(),
            extra=json.dumps(dict(extra)).encode(),
            content_bytes=file.content_bytes,
        )
        contents = self._store.contents
        await on_disk(lambda: contents.link(name, batch))  # the file itself may be deleted meanwhile

        def work(at: sqlite3.Connection) -> None:
            self._documents.put_in(at, row)
            batch_work.add(at, tenant, batch, now + WINDOW_S)

        try:
            await self._store.database.write(work)
        except InferloomError:
            await on_disk(lambda: contents.delete(batch))
            raise
        return _shown(row, _NOTHING)

    async def get(self, tenant: str, batch: str) -> Document:
        """What is known of a batch. Raises InferloomError if it is not there."""

        def work(at: sqlite3.Connection) -> Document:
            row = rows.get(at, BATCHES.name, tenant, batch, time.time())
            if row is None:
                raise self._documents.missing(batch)
            return _shown(row, batch_chunks.counts(at, batch))

        return await self._store.database.read(work)

    async def page(self, tenant: str, query: Query) -> tuple[Sequence[Document], bool]:
        """Some of a tenant's batches, and whether there are more."""

        def work(at: sqlite3.Connection) -> tuple[Sequence[Document], bool]:
            page = self._documents.page_in(at, tenant, query)
            return [_shown(row, batch_chunks.counts(at, row.id)) for row in page.rows], page.has_more

        return await self._store.database.read(work)

    async def cancel(self, tenant: str, batch: str) -> Document:
        """Let no more of a batch's lines be answered; return what is known of it.

        Raises:
            InferloomError: It is not there, or over.
        """

        def work(at: sqlite3.Connection) -> None:
            row = rows.get(at, BATCHES.name, tenant, batch, time.time())
            if row is None:
                raise self._documents.missing(batch)
            if row.status in _CANCELLABLE:
                batch_lifecycle.end(at, tenant, batch, "cancelled", int(time.time()))
            elif row.status not in _ENDING:
                message = f"A batch with status '{row.status}' cannot be cancelled."
                raise InferloomError(Reason.INVALID_ARGUMENT, message)

        await self._store.database.write(work)
        return await self.get(tenant, batch)


def _shown(row: Row, counts: Mapping[str, int]) -> Document:
    """The batch object; while there are chunks, they know how far it is: both are to be of one moment."""
    return {"request_counts": dict(counts), **json.loads(row.document)}
