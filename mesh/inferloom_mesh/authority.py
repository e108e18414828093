"""A small certificate authority for a mesh of one's own, in a folder."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.private_files import write_new
from inferloom_mesh.tls_reading import TlsError
from inferloom_mesh.watched import Watched

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName

CERTIFICATE, KEY = "ca.crt", "ca.key"
"""Its files."""

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
"""How long a part's certificate holds where nobody says."""

EARLIER = timedelta(minutes=5)
"""How far a certificate's beginning lies back: clocks differ."""


class Authority:
    """Signs certificates. Keys are of the curve P-256, which every TLS library has.

    Args:
        folder: Where its files are.

    Raises:
        TlsError: They cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificate

        self.folder = folder
        try:
            self.pem = (folder / CERTIFICATE).read_bytes()
            key = load_pem_private_key((folder / KEY).read_bytes(), None)
            self._certificate = load_pem_x509_certificate(self.pem)
        except FileNotFoundError as failure:
            raise TlsError(
                f"{failure.filename}: there is no such file; `inferloom certs init` makes it"
            ) from None
        except (OSError, TypeError, ValueError) as failure:
            raise TlsError(f"{folder}: holds no authority that can be used: {failure}") from failure
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise TlsError(f"{folder / KEY}: is not the key of {folder / CERTIFICATE}")
        self.key: EllipticCurvePrivateKey = key

    @classmethod
    def make(cls, folder: Path, name: str, life: timedelta = AUTHORITY_LIFE) -> "Authority":
        """Make one.

        Raises:
            TlsError: There is one already, or the folder cannot be written.
        """
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.x509 import BasicConstraints, KeyUsage, SubjectKeyIdentifier

        key = new_key()
        uses = KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key.public_key(), life)
            .add_extension(BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(uses, critical=True)
            .add_extension(SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        write_new(folder, {KEY: key_pem(key), CERTIFICATE: _pem(certificate)})
        return cls(folder)

    def sign(
        self,
        identity: PeerIdentity,
        public_key: "EllipticCurvePublicKey",
        hosts: Iterable[str] = (),
        life: timedelta = LIFE,
    ) -> bytes:
        """A certificate, in PEM, that says that the key's holder is ``identity``, at ``hosts`` (names and
        addresses) too. It does not outlast the authority's own.

        Raises:
            TlsError: That is over.
        """
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.x509 import (
            AuthorityKeyIdentifier,
            BasicConstraints,
            DNSName,
            ExtendedKeyUsage,
            SubjectAlternativeName,
            UniformResourceIdentifier,
        )
        from cryptography.x509.oid import ExtendedKeyUsageOID

        names: list[GeneralName] = [
            UniformResourceIdentifier(identity.uri),
            DNSName(identity.role.server_name),
            *map(_general_name, hosts),
        ]
        own = self._certificate.public_key()
        uses = ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        left = self._certificate.not_valid_after_utc - datetime.now(UTC)
        if left <= timedelta():
            ended = f"{self._certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
            raise TlsError(f"{self.folder / CERTIFICATE}: the authority ended at {ended} UTC")
        life = min(life, left)
        certificate = (
            _builder(str(identity), _name_of(self._certificate), public_key, life)
            .add_extension(BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(uses, critical=False)
            .add_extension(SubjectAlternativeName(names), critical=False)
            .add_extension(AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)  # type: ignore[arg-type] # P-256
            .sign(self.key, SHA256())
        )
        return _pem(certificate)

    def issue(
        self, folder: Path, identity: PeerIdentity, hosts: Sequence[str] = (), life: timedelta = LIFE
    ) -> None:
        """Make a key and a certificate in ``folder``, beside the authority's certificate: what a part needs.

        Raises:
            TlsError: There are some already, or the folder cannot be written.
        """
        key = new_key()
        certificate = self.sign(identity, key.public_key(), hosts, life)
        write_new(folder, {"tls.key": key_pem(key), "tls.crt": certificate, "ca.crt": self.pem})


def authority_in(folder: Path) -> Watched[Authority]:
    """The authority that a folder holds.

    Raises:
        TlsError: It cannot be used.
    """
    files = (folder / CERTIFICATE, folder / KEY)
    return Watched(files, lambda: Authority(folder), f"the authority in {folder}")


def new_key() -> "EllipticCurvePrivateKey":
    """A key of a certificate."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    return generate_private_key(SECP256R1())


def key_pem(key: "EllipticCurvePrivateKey") -> bytes:
    """A key as its file has it."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(certificate: "Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _builder(
    subject: str, issuer: str, key: "EllipticCurvePublicKey", life: timedelta
) -> "CertificateBuilder":
    from cryptography.x509 import (
        CertificateBuilder,
        Name,
        NameAttribute,
        random_serial_number,
    )
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)
    return (
        CertificateBuilder()
        .subject_name(Name([NameAttribute(NameOID.COMMON_NAME, subject[:64])]))
        .issuer_name(Name([NameAttribute(NameOID.COMMON_NAME, issuer[:64])]))
        .public_key(key)
        .serial_number(random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + life)
    )


def _name_of(certificate: "Certificate") -> str:
    from cryptography.x509.oid import NameOID

    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _general_name(host: str) -> "GeneralName":
    from cryptography.x509 import DNSName, IPAddress

    try:
        return IPAddress(ip_address(host.strip("[]")))
    except ValueError:
        return DNSName(host)
