"""Tokens that a worker joins with, once: what it is to be called, until when, and where, signed by the
authority."""

import base64
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role

if TYPE_CHECKING:
    from inferloom_mesh.authority import Authority

LONGEST = 4096
"""Characters of a token."""

_PURPOSE = b"inferloom join token v1 "


class TokenError(ValueError):
    """A token is none, is not of this authority, or its time is over."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a token says."""

    id: str
    """Which it is, as each is good once."""
    name: str
    """Of the worker."""
    ends: float
    """When it is over, in seconds of the epoch."""
    at: str
    """Where the registry is joined, ``host:port``."""
    authority: str
    """The authority's certificate, in PEM, by which the worker knows the registry."""


def make_token(authority: "Authority", name: str, life_s: float, at: Address) -> str:
    """Make a token. Raises ValueError for a name that is none."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    PeerIdentity(Role.WORKER, name)
    said = {
        "id": secrets.token_hex(8),
        "name": name,
        "ends": time.time() + life_s,
        "at": str(at),
        "authority": authority.pem.decode(),
    }
    payload = json.dumps(said).encode()
    return f"{_text(payload)}.{_text(authority.key.sign(_PURPOSE + payload, ECDSA(SHA256())))}"


def read_token(text: str) -> JoinToken:
    """What a token says, which nobody has checked: for the worker that was given it.

    Raises:
        TokenError: It is none.
    """
    return _read(_parts(text)[0])


def check_token(text: str, authority: "Authority") -> JoinToken:
    """What a token of this authority says.

    Raises:
        TokenError: It is none of its, or over.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    payload, signature = _parts(text)
    try:
        authority.key.public_key().verify(signature, _PURPOSE + payload, ECDSA(SHA256()))
    except InvalidSignature:
        raise TokenError("the join token is not of this mesh") from None
    token = _read(payload)
    if token.ends < time.time():
        raise TokenError("the join token is over")
    return token


def _parts(text: str) -> tuple[bytes, bytes]:
    payload, _, signature = text.strip().partition(".")
    try:
        if len(text) > LONGEST or not signature:
            raise ValueError
        return _bytes(payload), _bytes(signature)
    except ValueError:
        raise TokenError("this is no join token") from None


def _read(payload: bytes) -> JoinToken:
    try:
        token = JoinToken(**json.loads(payload))
        Address.parse(token.at)
        PeerIdentity(Role.WORKER, token.name)
        float(token.ends)
        token.authority.encode("ascii")
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise TokenError("this is no join token") from None
    return token


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
