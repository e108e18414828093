"""What a part of the mesh shows its peers and asks of them: one value for its servers and its channels."""

import os
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from inferloom_mesh.guard import Guard, PeersOnly
from inferloom_mesh.networks import Network
from inferloom_mesh.secret import MeshSecret, metadata_of
from inferloom_mesh.tls_files import TlsError, TlsFiles

if TYPE_CHECKING:
    from inferloom_mesh.audit import Audit


HTTP = "http/1.1"
"""What is spoken over TLS, in the words of ALPN, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Security:
    """A part's own.

    The secret is the simple way, for one machine or a network that is trusted; certificates are the other.
    Both are asked for in one place, :mod:`inferloom_mesh.guard`.
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
        if self.secret is None and self.tls is None:
            return None
        return PeersOnly(self.secret)

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
        authorities: A file with those that clients' certificates may be from. None: the folder's.
        protocol: What is spoken where that is not gRPC, in the words of ALPN.

    Raises:
        TlsError: Clients must show certificates, and nobody says from whom.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        asks: bool = False,
        authorities: Path | None = None,
        protocol: str = HTTP,
    ) -> None:
        self._files = files
        self._protocol = protocol
        self.asks = asks
        """Whether every connection shows a certificate."""
        try:
            self._authorities = None if authorities is None else authorities.read_bytes()
        except OSError as failure:
            raise TlsError(f"{authorities}: cannot be read: {failure.strerror}") from failure
        if asks and self._clients() is None:
            raise TlsError(f"{files.folder / 'ca.crt'}: there is no such file, which says whose clients come")
        self._made: tuple[int, ssl.SSLContext] | None = None

    def _clients(self) -> bytes | None:
        return self._authorities if self._authorities is not None else self._files.current().authorities

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC, which asks again at each handshake."""
        return grpc.dynamic_ssl_server_credentials(self._configuration(), self._configuration, self.asks)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        now = self._files.current()
        clients = self._clients() if self.asks else None
        return grpc.ssl_server_certificate_configuration([(now.key, now.certificate)], clients)

    def context(self) -> ssl.SSLContext:
        """For HTTP. Each handshake goes on in the context of that moment."""
        door = self.fresh()

        def meet(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            connection.context = self.fresh()

        door.sni_callback = meet  # called by every handshake, whether or not a name was sent
        return door

    def fresh(self) -> ssl.SSLContext:
        """For one handshake that begins now."""
        generation = self._files.generation()
        now = self._files.current()
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
            context.load_verify_locations(cadata=(self._clients() or b"").decode("latin-1"))
        if own:  # its connections last, so that nobody need come in by a session of before
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        if self._made is not None:
            context.sni_callback = self._made[1].sni_callback
        self._made = (generation, context)
        return context


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context what was read and checked; it takes files only, so it gets one that nobody else sees."""
    descriptor, name = tempfile.mkstemp(prefix="inferloom-")  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key + b"\n" + certificate)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)
