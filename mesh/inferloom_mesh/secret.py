"""The mesh's shared secret: how its services know each other until they have certificates."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

KEY = "inferloom-mesh"
"""Metadata key, and HTTP header, of what shows the secret."""

LEAST = 16
"""Characters of a secret: one that can be guessed is none."""

_PURPOSE = b"inferloom mesh peer v1"


class MeshSecret:
    """A secret that every service of a mesh has.

    What is sent is not the secret itself but its HMAC over a fixed text, which has one length and only ASCII.
    Whoever reads the traffic can send it again: that is what certificates will be for.

    Raises:
        ValueError: It is shorter than :data:`LEAST`.
    """

    def __init__(self, secret: str) -> None:
        if len(secret) < LEAST:
            raise ValueError(f"the mesh's secret must have at least {LEAST} characters")
        self._token = hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).hexdigest()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call to a peer."""
        return ((KEY, self._token),)

    def shown(self, token: str) -> bool:
        """Whether ``token`` was made of the same secret, in a time that does not depend on how much fits."""
        return hmac.compare_digest(token.encode(errors="replace"), self._token.encode())

    def shown_by(self, metadata: Iterable[tuple[str, Any]]) -> bool:
        """Whether a call's metadata shows the secret."""
        return any(name == KEY and isinstance(value, str) and self.shown(value) for name, value in metadata)


def metadata_of(secret: MeshSecret | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call to a peer, where the mesh has a secret."""
    return secret.metadata if secret is not None else ()
