"""Certificates, keys and authorities as files have them: read, and checked before anything uses them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inferloom_mesh.identity import PeerIdentity, only_one
from inferloom_mesh.roles import Role

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CERTIFICATES = ("tls.crt", "fullchain.pem")
KEYS = ("tls.key", "privkey.pem")
AUTHORITIES = ("ca.crt",)
"""What the files of a folder are called: first as Kubernetes and cert-manager have it, then as certbot."""


class TlsError(OSError):
    """A certificate, a key or an authority cannot be used; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files of a part hold, in PEM, checked."""

    certificate: bytes
    """The certificate, and after it those between it and its authority."""
    key: bytes
    authorities: bytes | None
    """Those that a peer's certificate may be from. None: the folder names none."""
    identity: PeerIdentity | None
    """Who the certificate says its holder is."""
    ends: datetime
    """When it is over."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a service that is not of the mesh is known by, and what is shown to it, in PEM, checked."""

    authorities: bytes | None
    """Those that its certificate may be from. None: those of the system."""
    certificate: bytes | None
    """None: nothing is shown, and there is no key either."""
    key: bytes | None


class Term(NamedTuple):
    """When a certificate is good."""

    begins: datetime
    ends: datetime


class Places(NamedTuple):
    """Where something is, for the messages of faults."""

    certificate: Path
    key: Path
    authorities: Path


def read_folder(folder: Path, role: Role | None, now: datetime) -> TlsMaterial:
    """What a part's folder holds; ``role`` as of :func:`checked`.

    Raises:
        TlsError: A file is not there, or they cannot be used.
    """
    place, certificate = _first(folder, CERTIFICATES)
    key_place, key = _first(folder, KEYS)
    try:
        authorities: bytes | None = _first(folder, AUTHORITIES)[1]
    except TlsError:
        if role is not None:
            raise
        authorities = None
    places = Places(place, key_place, folder / AUTHORITIES[0])
    return checked(certificate, key, authorities, role, now, places)


def checked(
    certificate: bytes, key: bytes, authorities: bytes | None, role: Role | None, now: datetime, at: Places
) -> TlsMaterial:
    """What belongs together: the key is the certificate's, which is in its time. With ``role`` it also names
    that role, and is from one of ``authorities``; None: whatever it names, as at a public door.

    Raises:
        TlsError: It does not.
    """
    chain = _certificates(at.certificate, certificate)
    _check_key(chain[0], at.certificate, key, at.key)
    _check_time(chain[0], at.certificate, now)
    identity = only_one(_uris(chain[0]))
    if role is not None:
        if not _issued_by_one_of(chain, _certificates(at.authorities, authorities or b"")):
            raise TlsError(
                f"{at.certificate}: the certificate is from none of the authorities in {at.authorities}"
            )
        if identity is None or identity.role is not role:
            said = "no role" if identity is None else f"the role {identity.role}"
            raise TlsError(f"{at.certificate}: the certificate names {said}, and this is a {role}")
    return TlsMaterial(certificate, key, authorities, identity, chain[0].not_valid_after_utc)


def read_certificates(file: Path) -> bytes:
    """The certificates or authorities in a file, in PEM.

    Raises:
        TlsError: It cannot be read, or holds none.
    """
    pem = _read(file)
    _certificates(file, pem)
    return pem


def read_shown(authorities: Path | None, certificate: Path | None, key: Path | None) -> Shown:
    """What these files hold; a certificate comes with its key. Whether it is in its time, the service that it
    is shown to judges.

    Raises:
        TlsError: One cannot be read, or they do not belong together.
    """
    known_by = None if authorities is None else read_certificates(authorities)
    if certificate is None or key is None:
        return Shown(known_by, None, None)
    pem, key_pem = _read(certificate), _read(key)
    _check_key(_certificates(certificate, pem)[0], certificate, key_pem, key)
    return Shown(known_by, pem, key_pem)


def term_of(certificate: bytes) -> Term:
    """When a certificate is good, whatever follows it; in PEM, and checked."""
    return _term(_certificates(Path(), certificate)[0])


def longest_term(authorities: bytes) -> Term:
    """When that of some authorities is good which ends last: until then somebody is known by them; in PEM,
    and checked."""
    return max(map(_term, _certificates(Path(), authorities)), key=lambda term: term.ends)


def is_from(certificate: bytes, authorities: bytes) -> bool:
    """Whether one of ``authorities`` signed a certificate, or one that follows it and signed it; all in PEM,
    and checked."""
    return _issued_by_one_of(_certificates(Path(), certificate), _certificates(Path(), authorities))


def in_common(some: bytes, others: bytes) -> bool:
    """Whether one of ``some`` authorities is one of ``others``; all in PEM, and checked."""
    return any(each in _certificates(Path(), others) for each in _certificates(Path(), some))


def _term(certificate: "Certificate") -> Term:
    return Term(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


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


def _read(place: Path) -> bytes:
    return _first(place.parent, (place.name,))[1]


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


def _issued_by_one_of(chain: "list[Certificate]", roots: "list[Certificate]") -> bool:
    last = chain[0]
    for _ in range(len(chain)):
        if any(_issued(last, root) for root in roots):
            return True
        above = next((one for one in chain[1:] if one is not last and _issued(last, one)), None)
        if above is None:
            return False
        last = above
    return False


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
