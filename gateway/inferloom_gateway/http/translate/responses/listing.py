"""Pages of items, and what of an item is only shown to those who ask."""

from collections.abc import Callable, Sequence
from typing import Any

from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_mesh.errors import invalid, shown


def page(items: Sequence[Item], after: str | None, limit: int, *, ascending: bool) -> dict[str, Any]:
    """Some of a list of items.

    Raises:
        InferloomError: The item behind which they are to be is not among them.
    """
    ordered = list(items) if ascending else list(reversed(items))
    if after is not None:
        at = next((place for place, item in enumerate(ordered) if item["id"] == after), None)
        if at is None:
            raise invalid("after", f"Invalid 'after': there is no item '{shown(after)}' in this list.")
        ordered = ordered[at + 1 :]
    found = [{"status": "completed"} | item for item in ordered[:limit]]
    return {
        "object": "list",
        "data": found,
        "first_id": found[0]["id"] if found else "",
        "last_id": found[-1]["id"] if found else "",
        "has_more": len(ordered) > limit,
    }


def sealed(items: Sequence[Item], seal: Callable[[str], str]) -> list[Item]:
    """Items with their reasoning encrypted besides."""
    return [_sealed(item, seal) if item["type"] == "reasoning" else item for item in items]


def sealed_document(document: Document, seal: Callable[[str], str]) -> Document:
    """A response with its reasoning encrypted besides."""
    return {**document, "output": sealed(document["output"], seal)}


def _sealed(item: Item, seal: Callable[[str], str]) -> Item:
    text = "".join(part["text"] for part in item.get("content") or ())
    return {**item, "encrypted_content": seal(text)} if text else item
