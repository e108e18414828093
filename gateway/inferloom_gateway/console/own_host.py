"""Whether a request calls its gateway by a name that is no other site's.

A page of another site becomes one of the gateway's origin where its own name is made to lead to the gateway
(DNS rebinding). The browser still sends that name, as Host.
"""

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[^:\[\]]{1,255})(?::[0-9]{0,5})?")


def own_hosts(listens: str, machine: str | None = None) -> frozenset[str]:
    """The names of a gateway.

    Args:
        listens: The host at which it listens.
        machine: The machine's name, with or without its domain; None: what the system says.
    """
    name = (socket.gethostname() if machine is None else machine).lower().rstrip(".")
    short = name.partition(".")[0]
    return frozenset({listens.lower().rstrip("."), name, short, f"{short}.local"} - {"", ".local"})


def is_own(host: str, names: Collection[str]) -> bool:
    """Whether a Host is an address, localhost, or one of ``names``."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"].lower().rstrip(".")
    if name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
