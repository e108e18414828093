"""Whether the ports of the mesh are free, asked before anything is started."""

import errno
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom_cli.probe import http_answer, reachable
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_mesh.net import Address

_SERVICES = tuple(f"inferloom.v1.{name}" for name in ("InferenceService", "RegistryService", "WorkerService"))
_PATIENCE_S = 1.0


def require_free(wanted: Sequence[tuple[Address, str]]) -> None:
    """Make sure that all addresses can be bound; port 0 always can. Each comes with the flag that moves it.

    Raises:
        RefusedError: Some cannot; the message names them all with their flags, and says whether another
            Inferloom has them.
    """
    faults = [*_twice(wanted)]
    faults += [(fault, flag) for address, flag in wanted if (fault := _fault(address)) is not None]
    if len(faults) == 1:
        [(fault, flag)] = faults
        raise RefusedError(f"{fault}; choose another with {flag}")
    if faults:
        lines = "".join(f"\n  {fault} ({flag})" for fault, flag in faults)
        raise RefusedError(
            f"these cannot be had; choose others with the flags, or 0 for any free port:{lines}"
        )


def require_apart(listening: Sequence[Address | None]) -> None:
    """Make sure that a service does not listen twice at one address.

    Raises:
        RefusedError: It would.
    """
    named = [address for address in listening if address is not None and address.port]
    if twice := next((address for address in named if named.count(address) > 1), None):
        raise RefusedError(f"{twice} is to be listened on twice: each needs a port of its own", MISUSED)


def _twice(wanted: Sequence[tuple[Address, str]]) -> Iterator[tuple[str, str]]:
    """Addresses that two are to have, by the later one's flag."""
    first: dict[Address, str] = {}
    for address, flag in wanted:
        if address.port and address in first:
            yield f"port {address.port} is that of {first[address]}", flag
        first.setdefault(address, flag)


def _fault(address: Address) -> str | None:
    """What keeps an address from being bound; None: nothing."""
    host = address.host.strip("[]")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        return f"{host} is not a known host"
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                return f"port {address.port} is taken by {_holder(reachable(address))}"
            return f"cannot listen on {address}: {failure.strerror}"
    return None


def _holder(address: Address) -> str:
    rest = http_answer(address, _PATIENCE_S)
    if rest.is_gateway if rest is not None else _is_ours(address):
        return "another Inferloom"
    return "another process"


def _is_ours(address: Address) -> bool:
    """Whether one of our services answers there over gRPC."""
    with grpc.insecure_channel(str(address), options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types know the asynchronous one only
        for service in _SERVICES:
            try:
                stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=_PATIENCE_S)
            except grpc.RpcError as failure:
                if failure.code() is grpc.StatusCode.NOT_FOUND:  # it answers health, and has no such service
                    continue
                return False
            return True
    return False
