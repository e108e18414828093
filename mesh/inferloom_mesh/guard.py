"""Who may call a server: asked of every call but health checks and reflection, before its request is read."""

from collections.abc import Sequence
from typing import Any, Protocol

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.secret import MeshSecret

Metadata = Sequence[tuple[str, Any]]


class Guard(Protocol):
    """Lets calls in."""

    def check(self, method: str, metadata: Metadata) -> None:
        """Let a call of ``method`` (``/service/method``) in, or raise InferloomError."""


class PeersOnly:
    """Lets in who shows the mesh's secret. So what metadata says of tenants and priorities is a peer's
    word."""

    def __init__(self, secret: MeshSecret) -> None:
        self._secret = secret

    def check(self, method: str, metadata: Metadata) -> None:
        """See the protocol."""
        if not self._secret.shown_by(metadata):
            raise InferloomError(
                Reason.NOT_A_PEER, "This service takes calls of the mesh's own services only."
            )


def guard_of(secret: MeshSecret | None) -> PeersOnly | None:
    """The guard of a service inside the mesh; None where the mesh has no secret and everybody is let in."""
    return PeersOnly(secret) if secret is not None else None
