"""What a part of the mesh shows its peers and asks of them: one value for its servers and its channels."""

import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from inferloom_mesh.guard import Guard, PeersOnly
from inferloom_mesh.networks import Network
from inferloom_mesh.secret import MeshSecret, metadata_of
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import TlsError
from inferloom_mesh.watched import Watched

if TYPE_CHECKING:
    from inferloom_mesh.audit import Audit


HTTP = "http/1.1"
"""What is spoken over TLS, in the words of ALPN, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Security:
    """A part's own.

    The secret is the simple way, for one machine or a network that is trusted. Certificates are the other:
    peers of a part that has them show nothing else. Both are asked for in :mod:`inferloom_mesh.guard`.
    """

    secret: MeshSecret | None = None
    """What the mesh's parts know each other by without certificates."""
    tls: TlsFiles | None = None
    """The part's certificate, its key, and the mesh's authority."""
    audit: "Audit | None" = None
    """Where is written who did what."""
    allowed: Sequence[Network] = ()
    """Networks that callers must be in; none: any."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call to a peer."""
        return metadata_of(self.secret)

    @property
    def guard(self) -> Guard | None:
        """Who may call a service inside of the mesh. None: everybody."""
        if self.tls is not None:
            return PeersOnly(None)
        return None if self.secret is None else PeersOnly(self.secret)

    def inside(self, protocol: str = HTTP) -> "ServerTls | None":
        """How a service inside of the mesh listens: with certificates on both sides. None: without TLS.
        ``protocol`` is what is spoken where that is not gRPC, in the words of ALPN."""
        return None if self.tls is None else ServerTls(self.tls, asks=True, protocol=protocol)


OPEN = Security()
"""Neither a secret nor certificates: everybody is let in, and nothing is encrypted."""


class ServerTls:
    """How a server does TLS. New handshakes use the files as they are then.

    Args:
        files: Its certificate and key.
        asks: Whether clients must show a certificate.
        authorities: Those that clients' certificates may be from. None: the folder's.
        protocol: What is spoken where that is not gRPC, in the words of ALPN.

    Raises:
        TlsError: Clients must show certificates, and nobody says from whom.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        asks: bool = False,
        authorities: Watched[bytes] | None = None,
        protocol: str = HTTP,
    ) -> None:
        self.files = files
        self._protocol = protocol
        self.authorities = authorities
        """Those that were named for clients' certificates. None: none were."""
        self.asks = asks
        """Whether every connection shows a certificate."""
        if asks and self._clients() is None:
            raise TlsError(f"{files.folder / 'ca.crt'}: there is no such file, which says whose clients come")
        self._made: tuple[tuple[int, int], ssl.SSLContext] | None = None

    def _clients(self) -> bytes | None:
        return self.files.current().authorities if self.authorities is None else self.authorities.current()

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC, which asks again at each handshake."""
        return grpc.dynamic_ssl_server_credentials(self._configuration(), self._configuration, self.asks)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        now = self.files.current()
        clients = self._clients() if self.asks else None
        return grpc.ssl_server_certificate_configuration([(now.key, now.certificate)], clients)

    def context(self) -> ssl.SSLContext:
        """For HTTP. Each connection is made in the context of its moment."""
        return _Door(self.fresh)

    def fresh(self) -> ssl.SSLContext:
        """For one handshake that begins now."""
        authorities = 0 if self.authorities is None else self.authorities.generation()
        generation = self.files.generation(), authorities
        now = self.files.current()
        if self._made is not None and self._made[0] == generation:
            return self._made[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Whoever speaks something else than HTTP is of this product. In TLS 1.2 a client could go on with a
        # session of before by its id, and its certificate would not be looked at again.
        own = self._protocol != HTTP
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if own else ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([self._protocol])
        load_pair(context, now.certificate, now.key)
        if self.asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=text_of(self._clients() or b""))
        if own:  # its connections last, so that nobody need come in by a session of before
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        self._made = (generation, context)
        return context


class _Door(ssl.SSLContext):
    """Stands for the context of the moment, for a server that takes one and keeps it.

    A session, with which a client comes in again without its certificate being looked at, is its context's.
    So none outlasts the files that it began with, as it would where a handshake changes its context midway.

    Args:
        fresh: Makes the context of a connection that begins now.
    """

    def __new__(cls, fresh: Callable[[], ssl.SSLContext]) -> "_Door":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, fresh: Callable[[], ssl.SSLContext]) -> None:
        self._fresh = fresh

    def wrap_bio(self, *args: Any, **how: Any) -> ssl.SSLObject:
        """Begin a connection."""
        return self._fresh().wrap_bio(*args, **how)


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context what was read and checked; it takes files only, so it gets one that nobody else sees."""
    descriptor, name = tempfile.mkstemp(prefix="inferloom-")  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key + b"\n" + certificate)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)


def text_of(pem: bytes) -> str:
    """Certificates as a context takes them; what else is in the file is for people, in whatever letters."""
    return pem.decode("ascii", "ignore")
