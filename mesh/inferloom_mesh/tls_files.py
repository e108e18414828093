"""A certificate, its key and the authorities of its peers, in a folder, read again when they are replaced."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferloom_mesh.identity import PeerIdentity, only_one
from inferloom_mesh.roles import Role

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

log = logging.getLogger(__name__)

CERTIFICATES = ("tls.crt", "fullchain.pem")
KEYS = ("tls.key", "privkey.pem")
AUTHORITIES = ("ca.crt",)
"""What the files of a folder are called: first as Kubernetes and cert-manager have it, then as certbot."""

LOOK_S = 1.0
"""How long files are taken for unchanged once somebody has looked."""


class TlsError(OSError):
    """A certificate, a key or an authority cannot be used; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files hold, in PEM, checked."""

    certificate: bytes
    """The certificate, and after it those between it and its authority."""
    key: bytes
    authorities: bytes | None
    """Those that a peer's certificate may be from. None: the folder names none."""
    identity: PeerIdentity | None
    """Who the certificate says its holder is."""
    ends: datetime
    """When it is over."""


class TlsFiles:
    """A folder's files. Files that are replaced by good ones are used within :data:`LOOK_S`; if they are not
    good, or not all of them are there yet, what was read before goes on.

    Thread-safe: gRPC asks from threads of its own.

    Args:
        folder: Where they are.
        role: What the certificate must say that its holder is. None: anybody, as at a public door.
        clock: Monotonic seconds.
        now: The time of day.

    Raises:
        TlsError: They cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        role: Role | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self._role = role
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._material = _read(folder, role, now())
        self._looked = clock()
        self._generation = 0

    def current(self) -> TlsMaterial:
        """What is to be used for a handshake that begins now."""
        with self._lock:
            if self._clock() - self._looked >= LOOK_S:
                self._looked = self._clock()
                self._follow()
            return self._material

    def look(self) -> None:
        """Look at once."""
        with self._lock:
            self._follow()

    def generation(self) -> int:
        """Grows with each replacement."""
        self.current()
        return self._generation

    def _follow(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            material = _read(self.folder, self._role, self._now())
        except TlsError as failure:
            log.warning("the replaced TLS files are not used, those before them are: %s", failure)
            return
        if material != self._material:
            self._material = material
            self._generation += 1
            log.info("TLS files in %s were replaced; the certificate ends %s", self.folder, material.ends)

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for name in (*CERTIFICATES, *KEYS, *AUTHORITIES):
            try:
                status = (self.folder / name).stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)


def _read(folder: Path, role: Role | None, now: datetime) -> TlsMaterial:
    place, certificate = _first(folder, CERTIFICATES)
    key_place, key = _first(folder, KEYS)
    try:
        authorities: bytes | None = _first(folder, AUTHORITIES)[1]
    except TlsError:
        if role is not None:
            raise
        authorities = None
    chain = _certificates(place, certificate)
    _check_key(chain[0], place, key, key_place)
    _check_time(chain[0], place, now)
    if role is not None:
        roots = _certificates(folder / AUTHORITIES[0], authorities or b"")
        _check_issuer(chain, roots, place, folder / AUTHORITIES[0])
    identity = only_one(_uris(chain[0]))
    if role is not None and (identity is None or identity.role is not role):
        said = "no role" if identity is None else f"the role {identity.role}"
        raise TlsError(f"{place}: the certificate names {said}, and this is a {role}")
    return TlsMaterial(certificate, key, authorities, identity, chain[0].not_valid_after_utc)


def _first(folder: Path, names: tuple[str, ...]) -> tuple[Path, bytes]:
    for name in names:
        place = folder / name
        try:
            return place, place.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as failure:
            raise TlsError(f"{place}: cannot be read: {failure.strerror}") from failure
    raise TlsError(f"{folder / names[0]}: there is no such file")


def _certificates(place: Path, pem: bytes) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except ValueError as failure:
        raise TlsError(f"{place}: holds no certificate in PEM") from failure


def _check_key(leaf: "Certificate", place: Path, pem: bytes, key_place: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key: Any = load_pem_private_key(pem, None)
    except TypeError as failure:
        raise TlsError(f"{key_place}: the key is encrypted, and nobody is here to be asked") from failure
    except (ValueError, UnsupportedAlgorithm) as failure:
        raise TlsError(f"{key_place}: holds no private key in PEM") from failure
    if key.public_key() != leaf.public_key():
        raise TlsError(f"{key_place}: the key is not that of the certificate in {place}")


def _check_time(leaf: "Certificate", place: Path, now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise TlsError(f"{place}: the certificate expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < leaf.not_valid_before_utc:
        begins = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M}"
        raise TlsError(f"{place}: the certificate is not valid before {begins} UTC")


def _check_issuer(
    chain: "list[Certificate]", roots: "list[Certificate]", place: Path, authorities: Path
) -> None:
    last = chain[0]
    for _ in range(len(chain)):
        if any(_issued(last, root) for root in roots):
            return
        above = next((one for one in chain[1:] if one is not last and _issued(last, one)), None)
        if above is None:
            break
        last = above
    raise TlsError(f"{place}: the certificate is from none of the authorities in {authorities}")


def _issued(leaf: "Certificate", issuer: "Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _uris(leaf: "Certificate") -> list[str]:
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName, UniformResourceIdentifier

    try:
        names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(UniformResourceIdentifier)
