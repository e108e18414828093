"""Certificates for workers that join: each token is good once, each certificate can be renewed by who has
it."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inferloom_mesh.audit import Audit
from inferloom_mesh.authority import Authority, authority_in
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
"""The file, beside the authority's, that says which tokens were used and for which keys; only ever added
to."""

AGAIN_S = 600.0
"""Seconds for which a token is good again for the key that it was used for: an answer may be lost on its way,
and who has another key gets nothing by it."""


class _Use(NamedTuple):
    """Of a token."""

    key: str
    """What tells the key apart that a certificate was given for."""
    at: float
    """When, in seconds of the epoch."""


class Joining:
    """Signs for workers, with the authority that the folder holds then. Thread-safe.

    Args:
        folder: The authority's, with its key.
        life_s: How long a certificate holds, in seconds.
        audit: Is told whom it let in.

    Raises:
        OSError: The folder cannot be used.
    """

    def __init__(self, folder: Path, life_s: float, audit: Audit | None = None) -> None:
        self._authority = authority_in(folder)
        self._life = timedelta(seconds=life_s)
        self._audit = audit
        file = folder / USED
        self._used = dict(_read_uses(file.read_text() if file.exists() else ""))
        self._using = threading.Lock()
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    @property
    def authority(self) -> bytes:
        """The certificate of what signs, in PEM."""
        return self._authority.current().pem

    def join(self, token: str, request: bytes, peer: PeerIdentity | None) -> tuple[bytes, bytes]:
        """A certificate and the authority's, in PEM.

        Raises:
            InferloomError: The token is none that is good, or what is asked for is no certificate request.
        """
        key, authority = _key_of(request), self._authority.current()
        if token:
            identity = PeerIdentity(Role.WORKER, self._use(token, authority, _told_apart(key)))
        elif peer is not None:
            identity = peer
        else:
            raise InferloomError(Reason.NOT_A_PEER, "To join, show a token or the certificate to be renewed.")
        certificate = authority.sign(identity, key, (), self._life)
        log.info("%s has a certificate for %s", identity, self._life)
        if self._audit is not None:
            self._audit.done("worker.join" if token else "worker.renew", str(identity))
        return certificate, authority.pem

    def _use(self, text: str, authority: Authority, key: str) -> str:
        try:
            token, now = check_token(text, authority), time.time()
            with self._using:
                if (used := self._used.get(token.id)) is None:
                    # On the disk before anybody has a certificate for it.
                    os.write(self._file, f"{token.id} {token.ends:.0f} {now:.0f} {key}\n".encode())
                    os.fsync(self._file)
                    self._used[token.id] = _Use(key, now)
                elif used.key != key or now - used.at > AGAIN_S:
                    raise TokenError("the join token has been used")
        except TokenError as wrong:
            raise InferloomError(Reason.NOT_A_PEER, f"{str(wrong).capitalize()}.") from wrong
        return token.name

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _read_uses(text: str) -> Iterator[tuple[str, _Use]]:
    """The uses that the lines of the file tell of, by their tokens; where one names no key, the token is good
    for none."""
    for fields in map(str.split, text.splitlines()):
        match fields:
            case [token, _, at, key] if at.isdigit():
                yield token, _Use(key, float(at))
            case [token, *_]:
                yield token, _Use("", 0.0)


def _told_apart(key: "EllipticCurvePublicKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    shown = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(shown).hexdigest()


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
