"""Names of calls."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any


def call_id(seed: int, choice: int, index: int) -> str:
    """The id of a choice's call: the same whenever the same tokens are drawn, and read again."""
    made = blake2b(f"{seed}/{choice}/{index}".encode(), digest_size=12, person=b"inferloom call").hexdigest()
    return f"call_{made}"


def short_id(given: str) -> str:
    """An id for templates that take nine letters and digits and nothing else: its own, or made of it."""
    if len(given) == _SHORT and given.isascii() and given.isalnum():
        return given
    return blake2b(given.encode(errors="surrogatepass"), digest_size=8).hexdigest()[:_SHORT]


_SHORT = 9


def numbered(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A conversation, as templates read it, with ``functions.name:number`` for the ids of its calls."""
    ids: dict[str, str] = {}
    made: list[dict[str, Any]] = []
    for turn in turns:
        calls = []
        for call in turn.get("tool_calls", ()):
            if "function" in call:
                ids[call["id"]] = f"functions.{call['function']['name']}:{len(ids)}"
                call = {**call, "id": ids[call["id"]]}
            calls.append(call)
        more: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if (of := turn.get("tool_call_id")) in ids:
            more["tool_call_id"] = ids[of]
        made.append({**turn, **more})
    return made
