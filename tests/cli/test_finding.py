"""How the commands find a mesh, and what they say when they look in the wrong place."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from inferloom_cli import models
from inferloom_cli.exports import export_line
from inferloom_cli.exposure import check_doors, check_service, exposed, seen_from_outside, warning
from inferloom_cli.refusal import RefusedError
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address

GRPC, REGISTRY = Address("127.0.0.1", 9000), Address("127.0.0.1", 7000)


def test_usual_ports_need_no_line() -> None:
    """Everything finds them."""
    assert export_line(GRPC, REGISTRY, (GRPC, REGISTRY)) is None


def test_other_ports_come_with_a_line_to_paste() -> None:
    """Both variables, whichever differs."""
    line = export_line(Address("127.0.0.1", 9260), REGISTRY, (GRPC, REGISTRY))
    assert line == "export INFERLOOM_GATEWAY=127.0.0.1:9260 INFERLOOM_REGISTRY=127.0.0.1:7000"


def test_a_mesh_with_certificates_comes_with_an_operators() -> None:
    """The folder, as a shell takes it."""
    line = export_line(GRPC, REGISTRY, (GRPC, REGISTRY), operator=Path("my mesh/operator"))
    assert line == "export INFERLOOM_TLS='my mesh/operator'"


@pytest.mark.parametrize(
    ("text", "reachable"),
    [
        ("127.0.0.1:1", False),
        ("127.8.0.1:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("10.0.0.5:1", True),
        ("box:1", True),
    ],
)
def test_what_other_machines_can_reach_is_told(text: str, reachable: bool) -> None:
    """Everything that is not certainly this machine alone."""
    address = Address.parse(text)
    assert exposed([address, None]) == ([address] if reachable else [])
    assert text in warning([address])


def test_nothing_listens_beyond_this_machine_without_tls_and_keys() -> None:
    """Unless a proxy sees to both; the sentence names what is missing. Loopback needs neither."""
    far, near = Address("10.0.0.5", 7000), Address("127.0.0.1", 7000)
    check_service([near, None], encrypted=False)
    check_service([far], encrypted=True)
    with pytest.raises(RefusedError, match=r"10\.0\.0\.5:7000 .*--tls .*--insecure") as caught:
        check_service([near, far], encrypted=False)
    assert caught.value.status == 2
    folder = Path("mesh")
    keyed: dict[str, Any] = {"keys": "keys.db", "mesh_secret": "a secret of this mesh"}
    for fine in (
        GatewaySettings(tls=folder, keys="keys.db"),
        GatewaySettings(gateway_tls=folder, **keyed),
        GatewaySettings(behind_proxy=True),
    ):
        check_doors([far], fine)
    check_doors([near], GatewaySettings())
    for lacking, words in (
        (GatewaySettings(), r"without TLS .* and API keys"),
        (GatewaySettings(tls=folder), r"without API keys"),
        (GatewaySettings(**keyed), r"without TLS"),
    ):
        with pytest.raises(RefusedError, match=words):
            check_doors([near, far], lacking)


def test_a_wildcard_is_shown_as_an_address_that_others_can_call() -> None:
    """The port stays, and the host is one."""
    outside = seen_from_outside(Address("0.0.0.0", 8000))
    assert outside.host not in ("0.0.0.0", "")
    assert outside.port == 8000
    assert seen_from_outside(GRPC) == GRPC


@pytest.fixture
def rest(request: pytest.FixtureRequest) -> Iterator[Address]:
    """Something that answers every GET with the parameter as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(request.param).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Address("127.0.0.1", server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ({"status": "live", "grpc": "127.0.0.1:9260"}, "speaks HTTP; gRPC is on 9260"),
        ({"status": "live"}, "speaks HTTP, not gRPC – name the gateway's gRPC port with --gateway"),
        ([], "speaks HTTP, not gRPC"),
    ],
    indirect=["rest"],
)
async def test_the_rest_port_in_place_of_grpcs_is_told(rest: Address, words: str) -> None:
    """It does not say that there is no gateway."""
    with pytest.raises(RefusedError) as refused:
        await models.show(rest, [REGISTRY], as_json=False)
    assert words in str(refused.value)
    assert str(rest.port) in str(refused.value)
