"""What an API key looks like, and what is kept of it. Pure but for the random bits of a new one.

A key is ``sk-il-ID-SECRET``: 12 hexadecimal digits that name it and may be shown, and 256 random bits in
base64url that may not. Only its SHA-256 is kept. Passwords need a slow hash because people choose them from
few; nobody can try 2^256 keys, however quick one trial is, so a slow hash would only slow every request.
"""

import hashlib
import hmac
import re
import secrets

PREFIX = "sk-il-"
"""How every key begins, so that people and scanners of leaked secrets know it when they see it."""

_FORM = re.compile(r"sk-il-(?P<id>[0-9a-f]{12})-[A-Za-z0-9_-]{43}")

_NOBODYS = "0" * 64
"""Stands for the digest of a key that does not exist, so that comparing takes as long."""


def new_key() -> tuple[str, str]:
    """Make a key: its id, and the key itself."""
    name = secrets.token_hex(6)
    return name, f"{PREFIX}{name}-{secrets.token_urlsafe(32)}"


def id_of(text: str) -> str:
    """The id that a key has; empty if it is no key of ours."""
    found = _FORM.fullmatch(text)
    return found["id"] if found else ""


def digest_of(text: str) -> str:
    """What is kept of a key: the SHA-256 of all of it, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def fits(text: str, digest: str | None) -> bool:
    """Whether a key is the one of ``digest`` (None: there is no such key), in a time that does not depend on
    how far they agree."""
    return hmac.compare_digest(digest_of(text), digest or _NOBODYS)
