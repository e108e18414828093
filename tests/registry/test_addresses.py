import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry import addresses
from inferloom_registry.addresses import AddressPolicy, IpAddress, Resolver
from inferloom_registry.settings import LOOPBACK_AND_PRIVATE

NAMES = {"inside": ["10.0.0.1", "fd00::1"], "half": ["10.0.0.1", "8.8.8.8"], "outside": ["8.8.8.8"]}


async def resolve(name: str) -> Sequence[IpAddress]:
    if name == "later":
        raise socket.gaierror(socket.EAI_AGAIN, "try again")
    if name not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return [ip_address(each) for each in NAMES[name]]


async def verdict(address: str, resolver: Resolver = resolve) -> Reason | None:
    try:
        await AddressPolicy(LOOPBACK_AND_PRIVATE, resolver).check(address)
    except InferloomError as refusal:
        return refusal.reason
    return None


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:7100", "10.1.2.3:1", "172.31.0.1:65535", "192.168.0.9:80", "[::1]:7100", "[fd00::7]:1",
     "[::ffff:10.0.0.1]:7100", "inside:7100"],
)  # fmt: skip
async def test_loopback_and_private_addresses_are_allowed(address: str) -> None:
    """By default a worker may be on this machine or in a private network, also by name."""
    assert await verdict(address) is None


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8:80", "172.32.0.1:80", "169.254.169.254:80", "[2001:db8::1]:80", "[::ffff:8.8.8.8]:80",
     "half:80", "outside:80"],
)  # fmt: skip
async def test_other_addresses_are_denied(address: str) -> None:
    """A name is denied as soon as one of its addresses is outside."""
    assert await verdict(address) is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(
    "address", ["", "10.0.0.1", ":80", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "a b:80", "http://a:80",
                "unix:/tmp/x", "0.0.0.0:80", "[::]:80", "224.0.0.1:80", "nowhere:80", "x" * 300 + ":80",
                "10.0.0.1:80\n"],
)  # fmt: skip
async def test_what_nobody_can_connect_to_is_invalid(address: str) -> None:
    """Other forms, no port, any-address, multicast, unknown names."""
    assert await verdict(address) is Reason.INVALID_ARGUMENT


async def test_only_the_given_networks_are_allowed() -> None:
    """The allow-list is the operator's, and loopback is not in it by itself."""
    policy = AddressPolicy([ip_network("10.0.0.0/8")], resolve)
    await policy.check("10.0.0.1:80")
    with pytest.raises(InferloomError) as caught:
        await policy.check("127.0.0.1:80")
    assert caught.value.reason is Reason.PERMISSION_DENIED


async def test_a_name_that_cannot_be_looked_up_now_may_be_tried_again() -> None:
    """A resolver that is down is no fault of the worker."""
    assert await verdict("later:80") is Reason.SERVER_OVERLOADED


async def test_a_slow_lookup_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer does not hold the call."""

    async def never(name: str) -> Sequence[IpAddress]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(addresses, "LOOKUP_TIMEOUT", 0.01)
    assert await verdict("slow:80", never) is Reason.SERVER_OVERLOADED


async def test_the_system_looks_names_up() -> None:
    """localhost is looked up by the system, and a label that is too long is no name."""
    assert await verdict("localhost:7100", addresses.look_up) is None
    assert await verdict("x" * 70 + ".example:80", addresses.look_up) is Reason.INVALID_ARGUMENT
