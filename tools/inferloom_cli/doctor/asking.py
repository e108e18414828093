"""Asks the parts of a mesh how they are; one that does not answer is a sentence, not an end."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom.v1.registry_pb2 import ListWorkersRequest, ListWorkersResponse, RegisteredWorker
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom.v1.worker_pb2 import GetStatusRequest, GetStatusResponse
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import opened
from inferloom_cli.credentials import Credentials
from inferloom_cli.doctor.mesh import GatewaySaid
from inferloom_cli.probe import show
from inferloom_cli.trouble import Trouble, trouble_of
from inferloom_mesh.net import Address
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import Term, term_of

_PATIENCE_S = 3.0
_MOST_BYTES = 2**20


async def registries(
    addresses: Sequence[Address], shown: Credentials
) -> Mapping[str, ListWorkersResponse | Trouble]:
    """What each registry knows, by its address."""

    async def one(address: Address) -> ListWorkersResponse | Trouble:
        async with opened("registry", address, shown) as channel:
            try:
                call = RegistryServiceStub(channel).ListWorkers(ListWorkersRequest(), timeout=_PATIENCE_S)
                return await call
            except grpc.aio.AioRpcError as failure:
                return trouble_of(failure, "registry", address, shown)

    answers = await asyncio.gather(*map(one, addresses))
    return dict(zip(map(str, addresses), answers, strict=True))


async def statuses(
    rows: Sequence[RegisteredWorker], shown: Credentials
) -> Mapping[str, GetStatusResponse | Trouble]:
    """What each worker says of itself, by its name."""

    async def one(row: RegisteredWorker) -> GetStatusResponse | Trouble:
        try:
            address = Address.parse(row.worker.address)
        except ValueError as wrong:
            return Trouble(str(wrong))
        async with opened("worker", address, shown) as channel:
            try:
                return await WorkerServiceStub(channel).GetStatus(GetStatusRequest(), timeout=_PATIENCE_S)
            except grpc.aio.AioRpcError as failure:
                return trouble_of(failure, "worker", address, shown)

    answers = await asyncio.gather(*map(one, rows))
    return {row.worker.id: answer for row, answer in zip(rows, answers, strict=True)}


async def named_gateway(address: Address, shown: Credentials) -> GatewaySaid | Trouble:
    """How the gateway at a gRPC address is, by its health, which it tells to everybody."""
    async with opened("gateway", address, shown) as channel:
        asked = health_pb2.HealthCheckRequest(service="inferloom.v1.InferenceService")
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types know no methods
        try:
            told = await stub.Check(asked, timeout=_PATIENCE_S)
        except grpc.aio.AioRpcError as failure:
            return trouble_of(failure, "gateway", address, shown)
    ready = told.status == health_pb2.HealthCheckResponse.SERVING
    return GatewaySaid(ready, health_pb2.HealthCheckResponse.ServingStatus.Name(told.status))


def gateway(address: Address, *, encrypted: bool, caller: Path | None = None) -> GatewaySaid | Trouble:
    """How the gateway at a REST address is. Where it asks for a certificate, that in the folder ``caller`` is
    shown. Blocks."""
    try:
        status, body, term = _get(address, "/health/ready", encrypted=encrypted, caller=caller)
        live = _get(address, "/health/live", encrypted=encrypted, caller=caller).body
    except _HungUpError:
        what = f"what listens at {address} speaks TLS, and takes no certificate that it is shown"
        return Trouble(what, "INFERLOOM_TLS=FOLDER names one, of an authority in its gateway_client_ca")
    except (OSError, HTTPException):
        return Trouble(f"no gateway answers at {address}", absent=True)
    if not isinstance(body, dict) or "status" not in body:
        return Trouble(f"what listens at {address} is no gateway of ours")
    late = live.get("event_loop", {}).get("recent_ms", 0.0) if isinstance(live, dict) else 0.0
    return GatewaySaid(
        status == 200, str(body["status"])[:200], late / 1e3 if isinstance(late, int | float) else 0, term
    )


class _Answer(NamedTuple):
    status: int
    body: object
    """What its JSON is; None: it has none."""
    term: Term | None
    """When the certificate of whoever gave it is good; None: he has none."""


def _get(address: Address, path: str, *, encrypted: bool, caller: Path | None) -> _Answer:
    host = address.host.strip("[]")
    if encrypted:
        # Health says nothing that is worth keeping from who answers in the gateway's place.
        context = ssl._create_unverified_context()  # noqa: S323
        if caller is not None:
            show(context, caller)
        connection: HTTPConnection = HTTPSConnection(host, address.port, timeout=_PATIENCE_S, context=context)
    else:
        connection = HTTPConnection(host, address.port, timeout=_PATIENCE_S)
    try:
        connection.connect()
        sock, term = connection.sock, None
        if isinstance(sock, ssl.SSLSocket) and (held := sock.getpeercert(binary_form=True)) is not None:
            term = term_of(ssl.DER_cert_to_PEM_cert(held).encode())
        try:
            connection.request("GET", path)
            response = connection.getresponse()
        except (ConnectionError, ssl.SSLError, HTTPException) as failure:
            if encrypted:
                raise _HungUpError from failure
            raise
        try:
            return _Answer(response.status, json.loads(response.read(_MOST_BYTES)), term)
        except ValueError:
            return _Answer(response.status, None, term)
    finally:
        connection.close()


class _HungUpError(OSError):
    """What speaks TLS ended the connection in the place of an answer: that is all which is heard of a
    certificate that it does not take, as TLS 1.3 asks for one when the client is done."""


def certificate(folder: Path) -> Term | str:
    """When the certificate in a folder is good; a text says why it cannot be used."""
    try:
        return term_of(TlsFiles(folder).current().certificate)
    except OSError as failure:
        return str(failure)
