"""Which addresses a worker may give: callers will connect to them."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_mesh.net import Address
from inferloom_registry.admission import refusal

PARAM = "worker.address"

MAX_LENGTH = 261
"""Longest address: a DNS name of 255 characters, a colon and a port."""

LOOKUP_TIMEOUT = 2.0
"""Seconds that looking a name up may take."""

IpAddress = IPv4Address | IPv6Address
Resolver = Callable[[str], Awaitable[Sequence[IpAddress]]]
"""Looks a name up, off the event loop. Raises socket.gaierror."""


async def look_up(name: str) -> list[IpAddress]:
    """Ask the system for the IP addresses of ``name``; it answers from a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class AddressPolicy:
    """Allows addresses in some networks.

    A host name is allowed if every address that it stands for now is. It may stand for another one later, so
    where names are not trusted, workers should be told to give IP addresses.

    Args:
        networks: The networks.
        resolver: Looks names up.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network], resolver: Resolver = look_up) -> None:
        self._networks = networks
        self._resolver = resolver

    async def check(self, text: str, param: str = PARAM) -> None:
        """Check the address ``text`` of a worker, or of what else ``param`` names.

        Raises:
            InferloomError: INVALID_ARGUMENT if nobody could connect to it, PERMISSION_DENIED if it is outside
                the networks, SERVER_OVERLOADED if its name cannot be looked up now.
        """
        if len(text) > MAX_LENGTH:
            raise refusal(param, f"must be at most {MAX_LENGTH} characters long")
        try:
            host, port = Address.parse(text)
        except ValueError as failure:
            raise refusal(param, "must have the form host:port") from failure
        if port == 0:
            raise refusal(param, "must name a port")
        for address in await self._addresses(host, param):
            plain = getattr(address, "ipv4_mapped", None) or address
            if plain.is_unspecified or plain.is_multicast:
                raise refusal(param, "must be an address that others can connect to")
            if not any(plain in network for network in self._networks):
                raise InferloomError(
                    Reason.PERMISSION_DENIED, f"{host} is outside the networks that workers may be in."
                )

    async def _addresses(self, host: str, param: str) -> Sequence[IpAddress]:
        try:
            return [ip_address(host.strip("[]"))]
        except ValueError:
            pass  # a name
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                return await self._resolver(host)
        except socket.gaierror as failure:
            if failure.errno == socket.EAI_AGAIN:
                raise overloaded(f"The name {host!r} cannot be looked up now.") from failure
            raise refusal(param, f"has the host {host!r}, which stands for no address") from failure
        except UnicodeError as failure:
            raise refusal(param, f"has the host {host!r}, which is not a name") from failure
        except TimeoutError as failure:
            raise overloaded(f"The name {host!r} cannot be looked up now.") from failure
