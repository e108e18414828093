"""How a part of the mesh opens a TLS connection that is not gRPC's."""

import ssl

from inferloom_mesh.security import load_pair, text_of
from inferloom_mesh.tls_files import TlsFiles


class ClientTls:
    """Shows the part's certificate, and lets only holders of one of the mesh's authority answer, whose name
    is that which is asked for. New connections use the files as they are then. Both ends are this product's,
    so nothing older than TLS 1.3 is spoken, and no session is gone on with.

    Args:
        files: Its certificate and key, and the authority.
        protocol: What is spoken, in the words of ALPN.
    """

    def __init__(self, files: TlsFiles, protocol: str) -> None:
        self._files = files
        self._protocol = protocol
        self._made: tuple[int, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """For a handshake that begins now."""
        generation, now = self._files.generation(), self._files.current()
        if self._made is not None and self._made[0] == generation:
            return self._made[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks the certificate and its name
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([self._protocol])
        context.load_verify_locations(cadata=text_of(now.authorities or b""))
        load_pair(context, now.certificate, now.key)
        self._made = (generation, context)
        return context
