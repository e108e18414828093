"""The folder of a worker whose registry gave it its certificate."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inferloom_mesh.authority import key_pem, new_key
from inferloom_mesh.private_files import replace, write_new
from inferloom_mesh.tls_reading import TlsError

CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"

JOINED = "joined"
"""The file that says that the registry gave the certificate, and gives the next ones too."""


def is_joined(folder: Path | None) -> bool:
    """Whether the folder's certificate came from the registry."""
    return folder is not None and (folder / JOINED).exists()


def is_certified(folder: Path) -> bool:
    """Whether the folder has a certificate that is not over. What is wrong with it otherwise is for those to
    say who use it."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        held = load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return held.not_valid_after_utc > datetime.now(UTC)


def own_key(folder: Path) -> Any:
    """The folder's private key, made where there is none.

    Raises:
        TlsError: It cannot be used, or written.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    file = folder / KEY
    try:
        pem = file.read_bytes()
    except FileNotFoundError:
        key = new_key()
        write_new(folder, {KEY: key_pem(key)})
        return key
    except OSError as failure:
        raise TlsError(f"{file}: cannot be read: {failure.strerror}") from failure
    try:
        held = load_pem_private_key(pem, None)
    except (TypeError, ValueError):
        held = None
    if not isinstance(held, EllipticCurvePrivateKey) or not isinstance(held.curve, SECP256R1):
        raise TlsError(f"{file}: holds no key of P-256 to join with; take it away, and another is made")
    return held


def trust(folder: Path, authorities: bytes) -> None:
    """Note whose certificates peers have, in PEM. Raises TlsError where that cannot be written."""
    replace(folder, {AUTHORITIES: authorities})


def certify(folder: Path, certificate: bytes, authorities: bytes, registry: str) -> None:
    """Keep what the registry gave, in PEM. Raises TlsError where that cannot be written."""
    note = f"the registry at {registry} gave the certificate, and the worker has it renewed\n"
    # The certificate last: where it is, the rest is.
    replace(folder, {AUTHORITIES: authorities, JOINED: note.encode(), CERTIFICATE: certificate})


def certificate_request(key: Any) -> bytes:
    """What a registry signs for a private key, in DER."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import CertificateSigningRequestBuilder, Name

    made = CertificateSigningRequestBuilder().subject_name(Name([])).sign(key, SHA256())
    return made.public_bytes(Encoding.DER)
