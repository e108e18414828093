"""Encrypts reasoning that clients keep for themselves and send back."""

import base64
import binascii
import secrets
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_VERSION = b"\x01"


def new_secret() -> str:
    """A secret that nobody can guess."""
    return secrets.token_hex(32)


class Seal:
    """Makes texts that only the same secret opens again, for the same tenant, and that nobody can change.

    AES-256-GCM with the tenant as associated data.

    Args:
        secret: All gateways that open each other's texts have the same.
    """

    def __init__(self, secret: str) -> None:
        key = blake2b(secret.encode(), digest_size=32, person=b"inferloom.reason").digest()
        self._cipher = AESGCM(key)

    def seal(self, text: str, tenant: str) -> str:
        """An opaque text that holds ``text``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), _bound(tenant))
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode()

    def unseal(self, sealed: str, tenant: str) -> str | None:
        """What an opaque text holds; None: it was not made with this secret for this tenant."""
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if raw[:1] != _VERSION:
            return None
        nonce, rest = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, _bound(tenant)).decode()
        except (InvalidTag, ValueError):
            return None


def _bound(tenant: str) -> bytes:
    return _VERSION + tenant.encode()
