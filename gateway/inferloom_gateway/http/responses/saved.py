"""A response as it is kept, with its input."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.storage.rows import Row


@dataclass(frozen=True, slots=True)
class Saved:
    """One response that is kept."""

    document: Document
    items: Sequence[Item]
    """What was sent for it."""
    previous: str | None
    """The response that it goes on from."""

    @classmethod
    def of(cls, row: Row) -> Self:
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
