"""Who calls, as far as the gateway knows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from, made at its door.

    ``tenant`` owns what it stores and is whom its use counts for. Empty: keys are off, and everybody is one.
    ``key_id`` names the API key that it showed, never the key itself. Empty: none.
    """

    tenant: str = ""
    key_id: str = ""


ANONYMOUS = Identity()
"""Everybody, while keys are off."""
