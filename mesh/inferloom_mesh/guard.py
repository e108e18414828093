"""Who may call a server: asked of every call but health checks and reflection, before its request is read."""

from collections.abc import Sequence
from typing import Any, Protocol

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.roles import SHOWS_A_TOKEN, may_call
from inferloom_mesh.secret import MeshSecret

Metadata = Sequence[tuple[str, Any]]


class Guard(Protocol):
    """Lets calls in."""

    def check(self, method: str, metadata: Metadata, peer: PeerIdentity | None) -> None:
        """Let a call of ``method`` (``/service/method``) in, or raise InferloomError.

        ``peer`` is whom its certificate names. None: it shows none, or one that names no role.
        """


class PeersOnly:
    """Lets in whose certificate has a role that the table lets make the call, or, without such a certificate,
    who shows the mesh's secret. So what metadata says of tenants and priorities is a peer's word.

    Args:
        secret: The mesh's. None: there is no other way than a certificate.
    """

    def __init__(self, secret: MeshSecret | None) -> None:
        self._secret = secret

    def check(self, method: str, metadata: Metadata, peer: PeerIdentity | None) -> None:
        """See the protocol."""
        if peer is not None:
            if not may_call(peer.role, method):
                name = method.rpartition("/")[2]
                raise InferloomError(
                    Reason.PERMISSION_DENIED, f"A {peer.role} may not call {name}: {peer} is none who may."
                )
        elif method in SHOWS_A_TOKEN:
            return
        elif self._secret is None or not self._secret.shown_by(metadata):
            raise InferloomError(
                Reason.NOT_A_PEER, "This service takes calls of the mesh's own services only."
            )
