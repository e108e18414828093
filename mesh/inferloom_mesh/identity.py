"""Who is at the other end of a connection, as its certificate says."""

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from inferloom_mesh.roles import Role

if TYPE_CHECKING:
    import grpc

SCHEME = "inferloom://role/"

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_PROPERTY = "peer_uri"
"""Where gRPC keeps the URIs of a peer's certificate."""


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """A role and a name, ``inferloom://role/worker/w1`` in a certificate.

    Raises:
        ValueError: The name has other characters than a worker's may have, or is longer than 63.
    """

    role: Role
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name of a {self.role}: 1 to 63 of a-z, 0-9, dots and hyphens"
            )

    @property
    def uri(self) -> str:
        """As it is written in a certificate."""
        return f"{SCHEME}{self.role}/{self.name}"

    def __str__(self) -> str:
        return f"{self.role}/{self.name}"

    @classmethod
    def parse(cls, uri: str) -> Self | None:
        """Read a URI; None where it is none of ours."""
        if not uri.startswith(SCHEME):
            return None
        role, _, name = uri.removeprefix(SCHEME).partition("/")
        try:
            return cls(Role(role), name)
        except ValueError:
            return None


def only_one(uris: Iterable[str]) -> PeerIdentity | None:
    """The identity that a certificate with these URIs has: none where there are two, as nobody could say
    which of them is meant."""
    found = {identity for uri in uris if (identity := PeerIdentity.parse(uri)) is not None}
    return found.pop() if len(found) == 1 else None


PEER: ContextVar[PeerIdentity | None] = ContextVar("inferloom_peer", default=None)
"""Who makes the call that the running handler answers. None: its connection shows no certificate with a
role."""


def identity_of(call: "grpc.aio.ServicerContext[Any, Any]") -> PeerIdentity | None:
    """Who makes a call; None where the connection shows no certificate with a role."""
    properties: Mapping[str, Iterable[bytes]] = call.auth_context() or {}
    return only_one(value.decode("latin-1") for value in properties.get(_PROPERTY, ()))
