"""Another certificate in the place of one that ends, made by hand where the authority is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from inferloom_mesh.authority import Authority
from inferloom_mesh.identity import only_one
from inferloom_mesh.private_files import replace
from inferloom_mesh.tls_reading import AUTHORITIES, CERTIFICATES, KEYS, Places, TlsError, checked


def renewed(authority: Authority, folder: Path, life: timedelta) -> datetime:
    """Sign the key in ``folder`` once more, for the holder and the hosts that its certificate names, whether
    or not that has ended. The key stays, so that only one file changes, and none ever lacks its other half.

    Returns:
        When the new one ends.

    Raises:
        TlsError: There is none, its holder does not know this authority, or it cannot be replaced.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import (
        DNSName,
        ExtensionNotFound,
        IPAddress,
        SubjectAlternativeName,
        UniformResourceIdentifier,
        load_pem_x509_certificate,
    )

    places = Places(*(folder / names[0] for names in (CERTIFICATES, KEYS, AUTHORITIES)))
    try:
        pem, key_pem, authorities = (place.read_bytes() for place in places)
        key = load_pem_private_key(key_pem, None)
        held = load_pem_x509_certificate(pem)
        names = held.extensions.get_extension_for_class(SubjectAlternativeName).value
    except FileNotFoundError as failure:
        raise TlsError(f"{failure.filename}: there is no such file, so nothing to renew") from failure
    except (OSError, TypeError, ValueError, ExtensionNotFound) as failure:
        raise TlsError(f"{folder}: holds no certificate that can be renewed: {failure}") from failure
    identity = only_one(names.get_values_for_type(UniformResourceIdentifier))
    if identity is None:
        raise TlsError(f"{places.certificate}: names no role")
    hosts = [*names.get_values_for_type(DNSName), *map(str, names.get_values_for_type(IPAddress))]
    others = [host for host in hosts if host != identity.role.server_name]
    made = authority.sign(identity, key.public_key(), others, life)  # type: ignore[arg-type] # as before
    good = checked(made, key_pem, authorities, identity.role, datetime.now(UTC), places)
    replace(folder, {places.certificate.name: made})
    return good.ends
