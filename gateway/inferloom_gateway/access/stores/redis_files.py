"""The files that the URL of a Redis names for TLS. Its client reads them at each connection that it makes."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from inferloom_mesh.tls_files import authorities_in, certificate_in
from inferloom_mesh.watched import Watched


def certificate_of(url: str) -> Watched[bytes] | None:
    """The certificate that is shown to it, in PEM; None: none is.

    Raises:
        TlsError: It cannot be used.
    """
    file = _named(url, "ssl_certfile")
    return None if file is None else certificate_in(file)


def authorities_of(url: str) -> Watched[bytes] | None:
    """Those that its own is to be from, in PEM; None: those of the system.

    Raises:
        TlsError: They cannot be used.
    """
    file = _named(url, "ssl_ca_certs")
    return None if file is None else authorities_in(file)


def _named(url: str, option: str) -> Path | None:
    parts = urlsplit(url)
    named = parse_qs(parts.query).get(option) if parts.scheme == "rediss" else None
    return None if named is None else Path(named[0])
