"""Why a call to a part of the mesh failed, and what its caller can do about it."""

from dataclasses import dataclass

import grpc

from inferloom_cli.credentials import Credentials
from inferloom_cli.probe import found_at, http_answer, reachable
from inferloom_mesh.errors import Reason
from inferloom_mesh.net import Address
from inferloom_mesh.status import read_failure

_ADVICE = {
    Reason.NOT_A_PEER: "Set INFERLOOM_MESH_SECRET_FILE or INFERLOOM_MESH_SECRET to the mesh's secret.",
    Reason.INVALID_API_KEY: "Name a key with --api-key or INFERLOOM_API_KEY.",
}

_NAMED = ("gateway", "registry")
"""Services whose address a flag and a variable of their name say; a worker's is told by the registry."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a call failed."""

    what: str
    """In words that name the service, or as it said it."""
    mend: str = ""
    """What its caller can do about it. Empty: nothing that is known."""
    absent: bool = False
    """Whether nothing listens there."""
    reason: Reason | None = None
    """As a service of the mesh named it. None: none did."""

    def __str__(self) -> str:
        """Both, in a line."""
        if not self.mend:
            return self.what
        return self.what + (" " if self.what.endswith(".") else " – ") + self.mend


def trouble_of(failure: grpc.aio.AioRpcError, service: str, address: Address, shown: Credentials) -> Trouble:
    """Read a failed call. Blocks for a moment where nothing answered in gRPC.

    Args:
        failure: What the call came to.
        service: Who was called: gateway, registry or worker.
        address: Where.
        shown: What was shown there.
    """
    read = read_failure(failure)
    if read.ours:
        reason = read.error.reason
        return Trouble(read.error.message, _ADVICE.get(reason, ""), reason=reason)
    if failure.code() is grpc.StatusCode.UNAVAILABLE:
        return _unreached(service, address, shown, failure.details() or "")
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Trouble(f"the {service} at {address} did not answer in time")
    return Trouble(f"the {service} at {address} answered {failure.code().name}: {failure.details()}")


def _unreached(service: str, address: Address, shown: Credentials, details: str) -> Trouble:
    """What is there in the place of an answer."""
    place = reachable(address)
    files = shown.security.tls
    port = f"name the {service}'s gRPC port" + (f" with --{service}" if service in _NAMED else "")
    if (answer := http_answer(place)) is not None:
        if answer.grpc and service == "gateway":
            return Trouble(f"{address.port} speaks HTTP; gRPC is on {answer.grpc.rpartition(':')[2]}")
        return Trouble(f"{address} speaks HTTP, not gRPC", port)
    match found_at(place):
        case "nothing":
            return _nobody(service, address)
        case "https":
            return Trouble(f"{address} speaks HTTPS, not gRPC", port)
        case "tls" if files is None:
            mend = "set INFERLOOM_TLS to a folder with a certificate of the mesh"
            return Trouble(f"the {service} at {address} speaks TLS", mend)
        case "plain" if files is not None:
            return Trouble(f"{address} does not speak TLS, which INFERLOOM_TLS asks for")
    if files is None:
        return Trouble(f"what listens at {address} does not answer as a {service}: {details}")
    what = f"the {service} at {address} and the certificate in {files.folder} do not know each other"
    mend = "both must be from one authority, and a gateway's must name its host"
    return Trouble(f"{what}: {details}", mend)


def _nobody(service: str, address: Address) -> Trouble:
    mend = "look at its log, and at the way to its port"
    if service in _NAMED:
        variable = f"INFERLOOM_{service.upper()}"
        mend = f"name another with --{service} or {variable}, or start one with `inferloom up`"
    return Trouble(f"no {service} at {address}", mend, absent=True)
