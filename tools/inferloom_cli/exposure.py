"""What listens beyond this machine, and the sentence about it."""

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_mesh.net import Address, is_loopback

if TYPE_CHECKING:
    from inferloom_gateway.settings import GatewaySettings

_ANYWHERE = ("0.0.0.0", "[::]", "*")  # noqa: S104 # compared with, not bound
_FAR = ("192.0.2.1", 9)
"""An address of nobody, behind the route to everybody (RFC 5737)."""

WARNING = (
    "other machines can reach {where}, and nothing asks who calls: "
    "anyone on that network can use the models, load others and stop workers"
)
ENCRYPTED = (
    "other machines can reach {where}, and nothing asks who calls: anyone on that network can use the models"
)
GUARDED = (
    "other machines can reach {where}; callers must show who they are, but nothing is encrypted: "
    "who reads the traffic can show the same"
)


def exposed(addresses: Iterable[Address | None]) -> list[Address]:
    """Those of ``addresses`` that other machines may reach."""
    return [address for address in addresses if address is not None and not is_loopback(address.host)]


def warning(addresses: Iterable[Address], *, guarded: bool = False, encrypted: bool = False) -> str:
    """The sentence; ``guarded``: whether the services ask who calls, ``encrypted``: whether they speak TLS.
    Where they do both there is none to be said."""
    words = (
        (ENCRYPTED if encrypted else GUARDED if guarded else WARNING) if not (guarded and encrypted) else ""
    )
    return words.format(where=", ".join(str(address) for address in addresses))


def check_service(listening: Iterable[Address | None], *, encrypted: bool) -> None:
    """Make sure that a service inside of the mesh listens beyond this machine with certificates only.

    Raises:
        RefusedError: It would do so without.
    """
    if (beyond := exposed(listening)) and not encrypted:
        raise RefusedError(
            f"{_all(beyond)} can be reached by other machines, and nothing would be encrypted nor anybody "
            "asked for a certificate: give one with --tls (`inferloom certs` makes some), or say --insecure",
            MISUSED,
        )


def check_doors(listening: Iterable[Address | None], settings: "GatewaySettings") -> None:
    """Make sure that a gateway listens beyond this machine with TLS and keys only, or behind a proxy.

    Raises:
        RefusedError: It would do so without.
    """
    lacking = [
        words
        for has, words in (
            (settings.encrypted, "TLS (--tls, or gateway_tls)"),
            (settings.keys is not None, "API keys (--keys)"),
        )
        if not has
    ]
    if (beyond := exposed(listening)) and lacking and not settings.behind_proxy:
        raise RefusedError(
            f"{_all(beyond)} can be reached by other machines, without {' and '.join(lacking)}: add what is "
            "missing, say --behind-proxy where a proxy sees to it, or --insecure",
            MISUSED,
        )


def check_gateway(rest: Address, grpc: Address, settings: "GatewaySettings") -> None:
    """Make sure of a gateway's doors, and that beyond this machine other gateways ask it with certificates.

    Raises:
        RefusedError: It would listen otherwise.
    """
    check_doors([rest, grpc], settings)
    check_service([settings.gateway_peer_listen], encrypted=settings.tls is not None)


def _all(addresses: Iterable[Address]) -> str:
    return ", ".join(map(str, addresses))


def seen_from_outside(address: Address) -> Address:
    """The address that other machines call for ``address``: for a wildcard, that of the interface which leads
    out, or the machine's name where there is none."""
    if address.host not in _ANYWHERE:
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_FAR)  # sends nothing
            host = str(probe.getsockname()[0])
        except OSError:
            host = socket.gethostname()
    return Address(host, address.port)
