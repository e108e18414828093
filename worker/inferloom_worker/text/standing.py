"""Where a chat template takes standing instructions, and a conversation with them there. Pure.

Clients send them in several turns, and between others: agents a developer's behind the system's, frameworks
a reminder later on. Many templates were written for one turn of the system at the beginning, and refuse
others or leave them out.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

Turn = dict[str, Any]

ROLES = frozenset({"system", "developer"})
"""Whose turns are standing instructions."""


class Place(Enum):
    """Where a template takes them."""

    ANYWHERE = "anywhere"
    LEADING = "leading"
    """In any number of turns, before all others."""
    FIRST = "first"
    """In one turn, before all others."""
    USER = "user"
    """In what the user says first: the template has no word for who gives them."""


def placed(turns: Sequence[Turn], place: Place) -> list[Turn]:
    """The conversation with its standing instructions where the template takes them, in their order.

    Several that become one turn have an empty line between them.
    """
    standing = [turn for turn in turns if turn["role"] in ROLES]
    if place is Place.ANYWHERE or not standing:
        return list(turns)
    others = [turn for turn in turns if turn["role"] not in ROLES]
    if place is Place.LEADING:
        return [*standing, *others]
    if place is Place.FIRST:
        return [{**standing[0], "content": _joined(standing)}, *others]
    at = next((index for index, turn in enumerate(others) if turn["role"] == "user"), None)
    if at is None:
        return [{"role": "user", "content": _joined(standing)}, *others]
    return [*others[:at], {**others[at], "content": _joined([*standing, others[at]])}, *others[at + 1 :]]


def _joined(turns: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(turn["content"] for turn in turns if turn["content"])
