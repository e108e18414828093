"""How the gateway's doors are encrypted: with a certificate for its callers, or that of the mesh."""

from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.security import ServerTls
from inferloom_mesh.tls_files import TlsFiles, authorities_in


def door_tls(settings: GatewaySettings) -> ServerTls | None:
    """How REST and gRPC do TLS. None: they do not.

    Raises:
        TlsError: A file cannot be used.
    """
    if not settings.encrypted:
        return None
    folder = settings.gateway_tls or settings.tls
    assert folder is not None
    callers = None if settings.gateway_client_ca is None else authorities_in(settings.gateway_client_ca)
    return ServerTls(TlsFiles(folder), asks=callers is not None, authorities=callers)
