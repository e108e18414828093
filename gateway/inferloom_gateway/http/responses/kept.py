"""The responses that are kept, with their inputs: what later ones go on from."""

import logging
import sqlite3
import time
from collections.abc import Sequence

from inferloom_gateway.http.responses.saved import Saved
from inferloom_gateway.http.schema.response_items import MOST_ITEMS
from inferloom_gateway.http.translate.responses.items import Item, no_item
from inferloom_gateway.http.translate.responses.names import response_of
from inferloom_gateway.storage import rows
from inferloom_gateway.storage.documents import Documents
from inferloom_gateway.storage.kinds import RESPONSES
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 2**20
"""Most that a conversation may take on the disk."""

_TOO_LARGE = f"the responses that are referred to have over {MOST_BYTES // 2**20} MiB."
_PREVIOUS = "previous_response_id"
UNDER_WAY = frozenset({"queued", "in_progress"})
"""What a response is that is not over."""


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
        """Keep one, if there is room for it."""
        store = await self.storage.open()
        await store.check_disk()
        await store.documents(RESPONSES).put(saved.row(tenant, self.age_s))

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
        found = await self._chain(tenant, name)
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

    async def referred(self, tenant: str, wanted: Sequence[tuple[int, str]]) -> dict[str, Item]:
        """Items by name, each wanted at a place of the input.

        Raises:
            InferloomError: One is not there, or they are of responses that are too large together.
        """
        store = await self.storage.open()

        def work(connection: sqlite3.Connection) -> dict[str, Item]:
            found: dict[str, Item] = {}
            looked: set[str] = set()
            size = 0
            for index, name in wanted:
                param, holder = f"input[{index}].id", response_of(name)
                if holder is not None and holder not in looked:
                    looked.add(holder)
                    row = rows.get(connection, RESPONSES.name, tenant, holder, time.time())
                    if row is not None:
                        size += row.size
                        if size > MOST_BYTES:
                            raise invalid(param, f"Invalid '{param}': {_TOO_LARGE}")
                        saved = Saved.of(row)
                        found |= {item["id"]: item for item in (*saved.items, *saved.document["output"])}
                if name not in found:
                    raise no_item(param, name)
            return found

        return await store.database.read(work)

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
