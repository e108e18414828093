"""The responses that are kept, with their inputs: what later ones go on from."""

import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from inferloom_gateway.http.schema.response_items import MOST_ITEMS
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item, no_item
from inferloom_gateway.http.translate.responses.names import response_of
from inferloom_gateway.storage import rows
from inferloom_gateway.storage.documents import Documents
from inferloom_gateway.storage.kinds import RESPONSES
from inferloom_gateway.storage.rows import Row
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 2**20
"""Most that a conversation may take on the disk."""

_PREVIOUS = "previous_response_id"
UNDER_WAY = frozenset({"queued", "in_progress"})
"""What a response is that is not over."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One response that is kept."""

    document: Document
    items: Sequence[Item]
    """What was sent for it."""
    previous: str | None
    """The response that it goes on from."""

    @classmethod
    def of(cls, row: Row) -> "Saved":
        """That of a row."""
        more: dict[str, Any] = orjson.loads(row.extra)
        return cls(orjson.loads(row.document), more["input"], more["previous"])

    def row(self, tenant: str, age_s: float) -> Row:
        """Its row."""
        document = self.document
        extra = {"input": self.items, "previous": self.previous}
        return Row(
            id=document["id"],
            tenant=tenant,
            created=document["created_at"],
            expires=time.time() + age_s,
            status=document["status"],
            model=document["model"],
            labels=document["metadata"],
            document=orjson.dumps(document),
            extra=orjson.dumps(extra),
        )


class Kept:
    """The responses of a gateway's store. All methods raise InferloomError if it cannot be used."""

    def __init__(self, storage: Storage, age_s: float) -> None:
        self.storage = storage
        self.age_s = age_s

    async def new_name(self) -> str:
        """A name for a response, which tells in which store it will be."""
        return (await self.documents()).new_id()

    async def documents(self) -> Documents:
        """Their documents."""
        return (await self.storage.open()).documents(RESPONSES)

    async def save(self, tenant: str, saved: Saved) -> None:
        """Keep one."""
        await (await self.documents()).put(saved.row(tenant, self.age_s))

    async def get(self, tenant: str, name: str) -> Saved:
        """One of a tenant's."""
        return Saved.of(await (await self.documents()).get(tenant, name))

    async def delete(self, tenant: str, name: str) -> None:
        """Forget one."""
        await (await self.documents()).delete(tenant, name)

    async def before(self, tenant: str, name: str) -> list[Item]:
        """The items of a conversation up to a response, with all that it answered, for another to go on.

        Raises:
            InferloomError: It is not there, or not over, or something that it goes on from is gone.
        """
        try:
            found = await self._chain(tenant, name)
        except InferloomError as failure:
            raise InferloomError(failure.reason, failure.message, param=_PREVIOUS) from failure
        status = found[-1].document["status"]
        if status in UNDER_WAY or status == "failed":
            how = "failed" if status == "failed" else "is not over yet"
            raise invalid(_PREVIOUS, f"Invalid '{_PREVIOUS}': response '{shown(name)}' {how}.")
        return [item for each in found for item in (*each.items, *each.document["output"])]

    async def read_by(self, tenant: str, name: str) -> list[Item]:
        """The items that a response's model read."""
        *earlier, last = await self._chain(tenant, name)
        past = [item for each in earlier for item in (*each.items, *each.document["output"])]
        return [*past, *last.items]

    async def referred(self, tenant: str, names: Iterable[tuple[int, str]]) -> Mapping[str, Item]:
        """Items by name, each wanted at a place of the input."""
        documents, found = await self.documents(), {}
        for index, name in names:
            holder = response_of(name)
            param = f"input[{index}].id"
            if holder is None:
                raise no_item(param, name)
            try:
                saved = Saved.of(await documents.get(tenant, holder))
            except InferloomError as failure:
                if failure.reason is Reason.NOT_FOUND:
                    raise no_item(param, name) from failure
                raise
            items = (*saved.items, *saved.document["output"])
            item = next((each for each in items if each["id"] == name), None)
            if item is None:
                raise no_item(param, name)
            found[name] = item
        return found

    async def _chain(self, tenant: str, name: str) -> list[Saved]:
        """A response and all that it goes on from, the oldest first."""
        store, documents = await self.storage.open(), await self.documents()

        def work(connection: sqlite3.Connection) -> list[Saved]:
            found: list[Saved] = []
            at: str | None = name
            items = size = 0
            while at is not None:
                row = rows.get(connection, RESPONSES.name, tenant, at, time.time())
                if row is None:
                    raise documents.missing(name) if at == name else _gone(at, name)
                saved = Saved.of(row)
                found.append(saved)
                items += len(saved.items) + len(saved.document["output"])
                size += len(row.document) + len(row.extra)
                if items > MOST_ITEMS or size > MOST_BYTES:
                    raise _too_long(name)
                at = saved.previous
            found.reverse()
            return found

        return await store.database.read(work)


def _gone(name: str, later: str) -> InferloomError:
    message = f"Response '{shown(name)}', from which '{shown(later)}' goes on, is not kept any more."
    return InferloomError(Reason.NOT_FOUND, message)


def _too_long(name: str) -> InferloomError:
    message = (
        f"The conversation up to response '{shown(name)}' has over {MOST_ITEMS} items, or over"
        f" {MOST_BYTES // 2**20} MiB."
    )
    return InferloomError(Reason.INVALID_ARGUMENT, message)
