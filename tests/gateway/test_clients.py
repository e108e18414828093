"""Where a request comes from, and who may call from there."""

from ipaddress import ip_network
from typing import Any

import pytest

from inferloom_gateway.http.clients import Clients
from inferloom_gateway.http.exchange import Exchange
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.networks import address_of, address_of_peer, client_behind

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "named", "client"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # what the client wrote itself is not believed
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("10.0.0.1", ["[2001:db8::1]:80"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4\r\nx: y"], "10.0.0.1"),
        ("10.0.0.1", [",,,,"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.9," * 100 + "10.0.0.9"], "10.0.0.9"),
        ("9.9.9.9", ["1.2.3.4"], "9.9.9.9"),  # no proxy of ours
        ("", ["1.2.3.4"], ""),
    ],
)
def test_proxies_of_ours_are_believed(peer: str, named: list[str], client: str) -> None:
    """From the last one on, for as long as they are ours."""
    assert client_behind(peer, named, PROXIES) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=1.2.3.4", "1.2.3.4"),
        ('for="[2001:db8::1]:4711";proto=https', "2001:db8::1"),
        ("for=6.6.6.6, by=10.0.0.1;For=1.2.3.4", "1.2.3.4"),
        ("for=_hidden", "10.0.0.1"),
        ("host=1.2.3.4", "10.0.0.1"),
    ],
)
def test_the_standards_header_is_read_where_it_is_asked_for(value: str, client: str) -> None:
    """Forwarded, as RFC 7239 has it."""
    assert client_behind("10.0.0.1", [value], PROXIES, standard=True) == client


def test_peers_of_grpc_are_addresses() -> None:
    """As gRPC writes them."""
    assert str(address_of_peer("ipv4:127.0.0.1:50100")) == "127.0.0.1"
    assert str(address_of_peer("ipv6:%5B::1%5D:50100")) == "::1"
    assert str(address_of_peer("ipv6:[fe80::1%25eth0]:1")) == "fe80::1"
    assert address_of_peer("unix:/tmp/x") is None
    assert address_of("nothing") is None


def test_only_who_is_in_the_networks_is_let_in() -> None:
    """A forwarded address counts if a proxy of ours says it; the other header is anybody's."""
    layer = Clients(PROXIES, "x-forwarded-for", (ip_network("1.2.3.0/24"),))

    def begin(peer: str, *headers: tuple[bytes, bytes]) -> tuple[str, int] | None:
        exchange = Exchange("GET", "/v1/models", (peer, 1), list(headers))
        layer.begin(exchange)
        return exchange.client

    assert begin("1.2.3.4") == ("1.2.3.4", 1)
    assert begin("10.0.0.1", (b"x-forwarded-for", b"1.2.3.9")) == ("1.2.3.9", 0)
    refused: Any
    for refused in (
        ("10.0.0.1",),
        ("8.8.8.8", (b"x-forwarded-for", b"1.2.3.9")),
        ("10.0.0.1", (b"forwarded", b"for=1.2.3.9")),
        ("10.0.0.1", (b"x-forwarded-for", b"1.2.3.9, 8.8.8.8")),
    ):
        with pytest.raises(InferloomError) as caught:
            begin(*refused)
        assert caught.value.reason is Reason.PERMISSION_DENIED
