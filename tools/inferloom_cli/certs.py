"""``inferloom certs``: an authority for a first deployment, and what it signs."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from inferloom_cli.refusal import FAILED, MISUSED, RefusedError
from inferloom_mesh.authority import CERTIFICATE, KEY, Authority
from inferloom_mesh.certificate_renewal import renewed
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.join_token import make_token
from inferloom_mesh.net import Address
from inferloom_mesh.private_files import write_new
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import TlsError

_LOCAL = ("localhost", "127.0.0.1", "::1")

_STARTS = {
    Role.REGISTRY: "inferloom registry --tls {folder}",
    Role.WORKER: "inferloom worker --id {name} --tls {folder}",
    Role.GATEWAY: "inferloom gateway --tls {folder}",
    Role.OPERATOR: "INFERLOOM_TLS={folder} inferloom ps",
}


def init(folder: Path, name: str, days: int) -> None:
    """Make an authority.

    Raises:
        RefusedError: There is one, or it cannot be written.
    """
    try:
        Authority.make(folder, name, timedelta(days=days))
    except TlsError as failure:
        raise RefusedError(str(failure), FAILED) from failure
    print(f"{folder / KEY} signs certificates: keep it here, or on a machine without a network.")
    print(f"{folder / CERTIFICATE} is for everybody who calls the mesh (curl --cacert).")
    print(f"Now a certificate for each service: inferloom certs issue --role registry {folder}")


def issue(folder: Path, role: str, name: str | None, hosts: Sequence[str], days: int) -> None:
    """Make a certificate.

    Raises:
        RefusedError: There is one of that name, the name is none, or it cannot be made.
    """
    kind = Role(role)
    try:
        identity = PeerIdentity(kind, name or kind.value)
        every = dict.fromkeys((*_LOCAL, *hosts))
        made = folder / identity.name
        Authority(folder).issue(made, identity, tuple(every), timedelta(days=days))
        ends = TlsFiles(made).current().ends
    except TlsError as failure:
        raise RefusedError(str(failure), FAILED) from failure
    except ValueError as failure:
        raise RefusedError(f"this cannot be in a certificate: {failure}", MISUSED) from failure
    print(f"{made} is the {kind}'s, until {ends:%Y-%m-%d}: copy it to its machine, readable by it alone, and")
    print(f"  {_STARTS[kind].format(folder=made, name=identity.name)}")


def renew(folder: Path, name: str, days: int) -> None:
    """Make another certificate of the same key, for the same holder and hosts, in the place of one that ends.

    Raises:
        RefusedError: There is none of that name, or it cannot be made.
    """
    made = folder / name
    try:
        ends = renewed(Authority(folder), made, timedelta(days=days))
    except TlsError as failure:
        raise RefusedError(str(failure), FAILED) from failure
    print(f"{made / 'tls.crt'} is good until {ends:%Y-%m-%d}: copy it over the one on its holder's machine,")
    print("where it is used within a second, without a restart.")


def token(folder: Path, name: str, registry: str, file: Path, hours: float) -> None:
    """Make a join token.

    Raises:
        RefusedError: It cannot be made, or the file is there.
    """
    try:
        made = make_token(Authority(folder), name, hours * 3600, Address.parse(registry))
        write_new(file.parent, {file.name: made.encode() + b"\n"})
    except TlsError as failure:
        raise RefusedError(str(failure), FAILED) from failure
    except ValueError as failure:
        raise RefusedError(str(failure), MISUSED) from failure
    print(f"{file} lets a worker {name} join, once, for {hours:g} hours: bring it to its machine, and there")
    print(f"  INFERLOOM_JOIN_TOKEN_FILE={file.name} inferloom worker --id {name} --tls certificate")
