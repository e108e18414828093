"""Names of stored things: what they are, whose store they are in, and what makes them unique."""

import re
import secrets

NOWHERE = "llllll"
"""Stands for a store in the names of what is not kept: no store has this letter in its own."""

_ALPHABET = "abcdefghijkmnopqrstuvwxyz0123456789"
_STORE_LENGTH = 6
_UNIQUE_LENGTH = 24
_PARTS = re.compile(rf"[a-z]+[-_](?P<store>[a-z0-9]{{{_STORE_LENGTH}}})[a-z0-9]{{{_UNIQUE_LENGTH}}}")


def new_store_id() -> str:
    """A name for a store, part of the names of all things in it."""
    return _random(_STORE_LENGTH)


def new_id(prefix: str, store_id: str) -> str:
    """A name that nobody can guess, such as ``file-`` with 30 letters and digits."""
    return f"{prefix}{store_id}{_random(_UNIQUE_LENGTH)}"


def store_in(name: str) -> str | None:
    """The store that a name was given in; None: it is not of our making."""
    found = _PARTS.fullmatch(name)
    return None if found is None else found["store"]


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
