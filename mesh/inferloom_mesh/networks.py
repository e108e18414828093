"""Networks that addresses must be in, and whose address a request that came through proxies has."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from inferloom_mesh.errors import InferloomError, Reason

IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_HOPS = 32
"""Addresses of proxies that are followed."""

_FOR = re.compile(r"""(?:^|;)\s*for=(?:"([^"]*)"|([^;"\s]*))""", re.IGNORECASE)
_PEER = re.compile(r"ipv[46]:(?:\[(?P<six>[^\]%]+)(?:%[^\]]*)?\]|(?P<four>[0-9.]+)):\d+")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
"""IP networks, read from a list or from text such as ``10.0.0.0/8,fd00::/8``."""


def address_of(text: str) -> IpAddress | None:
    """An IP address, with or without a port, brackets and the clothes of IPv6; None: it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def address_of_peer(peer: str) -> IpAddress | None:
    """The address in what gRPC calls a peer, such as ``ipv4:127.0.0.1:50100``."""
    match = _PEER.fullmatch(peer.replace("%5B", "[").replace("%5D", "]"))
    return None if match is None else address_of(match["four"] or f"[{match['six']}]")


def within(address: IpAddress | None, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks."""
    return address is not None and any(address in network for network in networks)


def check_allowed(address: IpAddress | None, allowed: Sequence[Network]) -> None:
    """Make sure that a caller's address may call; without networks every one may.

    Raises:
        InferloomError: PERMISSION_DENIED.
    """
    if allowed and not within(address, allowed):
        raise InferloomError(Reason.PERMISSION_DENIED, "Nobody may call this service from this address.")


def client_behind(
    peer: str, named: Sequence[str], trusted: Sequence[Network], *, standard: bool = False
) -> str:
    """The address of who sent a request that may have come through proxies.

    Each proxy adds the address that it was called from behind those that it was told. So they are believed
    from the last one on, for as long as who says so is a proxy of ours.

    Args:
        peer: Whose connection it came on.
        named: The header's values, in their order: of X-Forwarded-For, or, with ``standard``, of Forwarded.
        trusted: Where our proxies are.
    """
    hops = [part for value in named for part in value.split(",")]
    if standard:
        found = (_FOR.search(part) for part in hops)
        hops = ["" if match is None else match[1] or match[2] or "" for match in found]
    client = peer
    for _ in range(min(len(hops), MOST_HOPS)):
        if not within(address_of(client), trusted):
            break
        before = address_of(hops.pop())
        if before is None:
            break
        client = str(before)
    return client
