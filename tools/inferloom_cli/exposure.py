"""What listens beyond this machine, and the sentence about it."""

import socket
from collections.abc import Iterable
from ipaddress import ip_address

from inferloom_mesh.net import Address

_ANYWHERE = ("0.0.0.0", "[::]", "*")  # noqa: S104 # compared with, not bound
_FAR = ("192.0.2.1", 9)
"""An address of nobody, behind the route to everybody (RFC 5737)."""

WARNING = (
    "other machines can reach {where}, and nothing asks who calls: "
    "anyone on that network can use the models, load others and stop workers"
)
GUARDED = (
    "other machines can reach {where}; callers must show who they are, but nothing is encrypted: "
    "who reads the traffic can show the same"
)


def exposed(addresses: Iterable[Address | None]) -> list[Address]:
    """Those of ``addresses`` that other machines may reach."""
    return [address for address in addresses if address is not None and not is_loopback(address.host)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can call a host of this name."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def warning(addresses: Iterable[Address], *, guarded: bool = False) -> str:
    """The sentence; ``guarded``: whether the services ask who calls."""
    words = GUARDED if guarded else WARNING
    return words.format(where=", ".join(str(address) for address in addresses))


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
