"""Certificates for workers that join: each token is good once, each certificate can be renewed by who has
it."""

import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from inferloom_mesh.audit import Audit
from inferloom_mesh.authority import Authority
from inferloom_mesh.errors import InferloomError, Reason, invalid
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.join_token import TokenError, check_token
from inferloom_mesh.roles import Role

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

log = logging.getLogger(__name__)

LARGEST_REQUEST = 8 * 2**10
"""Bytes of a certificate request."""

USED = "used-tokens"
"""The file, beside the authority's, that says which tokens were used; only ever added to."""


class Joining:
    """Signs for workers.

    Args:
        folder: The authority's, with its key.
        life_s: How long a certificate holds, in seconds.
        audit: Is told whom it let in.

    Raises:
        OSError: The folder cannot be used.
    """

    def __init__(self, folder: Path, life_s: float, audit: Audit | None = None) -> None:
        self._authority = Authority(folder)
        self._life = timedelta(seconds=life_s)
        self._audit = audit
        file = folder / USED
        self._used = (
            {line.split()[0] for line in file.read_text().splitlines() if line} if file.exists() else set()
        )
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def join(self, token: str, request: bytes, peer: PeerIdentity | None) -> tuple[bytes, bytes]:
        """A certificate and the authority's, in PEM.

        Raises:
            InferloomError: The token is none that is good, or what is asked for is no certificate request.
        """
        key = _key_of(request)
        if token:
            identity = PeerIdentity(Role.WORKER, self._use(token))
        elif peer is not None:
            identity = peer
        else:
            raise InferloomError(Reason.NOT_A_PEER, "To join, show a token or the certificate to be renewed.")
        certificate = self._authority.sign(identity, key, (), self._life)
        log.info("%s has a certificate for %s", identity, self._life)
        if self._audit is not None:
            self._audit.done("worker.join" if token else "worker.renew", str(identity))
        return certificate, self._authority.pem

    def _use(self, text: str) -> str:
        try:
            token = check_token(text, self._authority)
            if token.id in self._used:
                raise TokenError("the join token has been used")
        except TokenError as wrong:
            raise InferloomError(Reason.NOT_A_PEER, f"{str(wrong).capitalize()}.") from wrong
        self._used.add(token.id)
        # On the disk before anybody has a certificate for it.
        os.write(self._file, f"{token.id} {token.ends:.0f} {time.time():.0f}\n".encode())
        os.fsync(self._file)
        return token.name

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _key_of(request: bytes) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.x509 import load_der_x509_csr

    if len(request) > LARGEST_REQUEST:
        raise invalid(
            "certificate_request", f"certificate_request must take at most {LARGEST_REQUEST} bytes."
        )
    try:
        asked = load_der_x509_csr(request)
        key = asked.public_key()
        fine = asked.is_signature_valid
    except Exception:  # the library has several, for what is no request
        fine = False
    if not fine or not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise invalid(
            "certificate_request", "certificate_request must be a PKCS #10 request with a key of P-256."
        )
    return key
