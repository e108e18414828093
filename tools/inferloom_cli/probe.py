"""What the gateway answers, asked as any client would."""

import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Literal

from inferloom_cli.mesh_report import ModelReport
from inferloom_mesh.net import Address
from inferloom_mesh.security import load_pair, text_of
from inferloom_mesh.tls_files import TlsFiles

_TIMEOUT_S = 5.0


def reachable(address: Address) -> Address:
    """The address at which something that listens on ``address`` can be called from this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 # compared with, not bound
    return Address(anywhere.get(address.host, address.host), address.port)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What something that speaks HTTP said of itself."""

    is_gateway: bool
    """Whether it is a gateway of ours."""
    grpc: str | None = None
    """Where that gateway's gRPC façade listens, if it says so."""


def http_answer(address: Address, timeout: float = 1.0) -> HttpAnswer | None:
    """What ``GET /health/live`` says; None where nothing answers in HTTP. Blocks for a while."""
    connection = HTTPConnection(address.host.strip("[]"), address.port, timeout=timeout)
    try:
        connection.request("GET", "/health/live")
        response = connection.getresponse()
        said = json.loads(response.read(65536))
    except (OSError, HTTPException):
        return None
    except ValueError:
        return HttpAnswer(is_gateway=False)
    finally:
        connection.close()
    if not isinstance(said, dict) or said.get("status") != "live":
        return HttpAnswer(is_gateway=False)
    grpc = said.get("grpc")
    return HttpAnswer(is_gateway=True, grpc=grpc if isinstance(grpc, str) else None)


def show(context: ssl.SSLContext, folder: Path) -> None:
    """Show the certificate in a folder where one is asked for. Raises OSError where it cannot be used."""
    mine = TlsFiles(folder).current()
    load_pair(context, mine.certificate, mine.key)


Found = Literal["nothing", "plain", "tls", "https"]
"""What listens at an address: nothing, something that speaks no TLS, one that speaks HTTP/2 over TLS, as gRPC
does, or one that speaks something else over TLS."""


def found_at(address: Address, timeout: float = 1.0) -> Found:
    """What listens at an address, whosever certificate it has. Blocks for a while."""
    host = address.host.strip("[]")
    try:
        connection = socket.create_connection((host, address.port), timeout)
    except OSError:
        return "nothing"
    context = ssl._create_unverified_context()  # noqa: S323 # nothing is said there
    context.set_alpn_protocols(["h2"])
    try:
        with connection, context.wrap_socket(connection, server_hostname=host) as encrypted:
            return "tls" if encrypted.selected_alpn_protocol() == "h2" else "https"
    except ssl.SSLError as failure:
        return "tls" if "ALERT" in (failure.reason or "") else "plain"  # one that asks for a certificate, say
    except OSError:
        return "plain"


def _connection(rest: Address, door: Path | None, caller: Path | None) -> HTTPConnection:
    host, port = rest.host.strip("[]"), rest.port
    if door is None:
        return HTTPConnection(host, port, timeout=_TIMEOUT_S)
    # Exactly this certificate, whoever signed it and whatever the address is called.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=text_of(TlsFiles(door).current().certificate))
    if caller is not None:
        show(context, caller)
    return HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)


def is_ready(rest: Address, door: Path | None = None, caller: Path | None = None) -> bool:
    """Whether ``GET /health/ready`` says that requests can be answered; ``door`` is the folder with the
    certificate that must answer, ``caller`` that with one to show. Blocks."""
    connection = _connection(rest, door, caller)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def served_models(
    rest: Address,
    shown: Sequence[tuple[str, str]] = (),
    door: Path | None = None,
    caller: Path | None = None,
) -> tuple[ModelReport, ...]:
    """What ``GET /v1/models`` lists; nothing while the gateway does not answer. ``shown`` are headers that
    say who asks, ``door`` and ``caller`` are as for :func:`is_ready`. Blocks."""
    connection = _connection(rest, door, caller)
    try:
        connection.request("GET", "/v1/models", headers=dict(shown))
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            return ()
        return tuple(
            ModelReport(model["id"], tuple(model["capabilities"])) for model in json.loads(body)["data"]
        )
    except (OSError, HTTPException):
        return ()
    finally:
        connection.close()
