"""Stored things as they are answered, and the queries of their lists."""

from collections.abc import Sequence

import orjson

from inferloom_gateway.storage.rows import Page, Query, Row


def file_row(
    row_id: str, tenant: str, size: int, created: float, expires: float, name: str, purpose: str
) -> Row:
    """A file's row. Its status is its purpose, by which lists are filtered."""
    document = {
        "id": row_id,
        "object": "file",
        "bytes": size,
        "created_at": int(created),
        "expires_at": int(expires),
        "filename": name,
        "purpose": purpose,
        "status": "processed",
    }
    return Row(
        id=row_id,
        tenant=tenant,
        created=created,
        expires=expires,
        status=purpose,
        document=orjson.dumps(document),
        content_bytes=size,
    )


def listed(page: Page) -> bytes:
    """A list of stored things."""
    return joined([row.document for row in page.rows], [row.id for row in page.rows], page.has_more)


def joined(documents: Sequence[bytes], ids: Sequence[str], has_more: bool) -> bytes:
    """A list of JSON objects that are made already; one of none has empty ids."""
    tail = orjson.dumps(
        {"first_id": ids[0] if ids else "", "last_id": ids[-1] if ids else "", "has_more": has_more}
    )
    return b'{"object":"list","data":[' + b",".join(documents) + b"]," + tail[1:]


def query(after: str | None, limit: int, order: str, **filters: str | None) -> Query:
    """What a list is asked for."""
    return Query(
        after=after,
        limit=limit,
        ascending=order == "asc",
        status=filters.get("status"),
        model=filters.get("model"),
    )
