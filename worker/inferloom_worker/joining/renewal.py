"""A worker's next certificates, which its registry gives it for the one that it has."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.authority import EARLIER
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security
from inferloom_mesh.status import from_rpc_error
from inferloom_mesh.tls_files import TlsFiles
from inferloom_worker.joining.own_folder import certificate_request

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""How long a registry may take."""

RETRY_S = 60.0
"""How long after a renewal that failed the next one is tried; sooner where the certificate ends sooner."""

LEAST_S = 5.0
"""How long after a renewal the next one is at least, whatever it was good for: the authority itself may be
about to end, or a clock be wrong."""

LOOK_S = 60.0
"""How long it is taken for known when one is due: files may be replaced, and a machine may sleep."""


async def keep_renewed(
    security: Security,
    registries: Sequence[Address],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Renew the certificate when two thirds of its life are over, until cancelled. The key stays.

    Args:
        security: The worker's, with the files.
        registries: Are asked one after another.
        now: The time of day.
    """
    files = security.tls
    assert files is not None
    pause_s = 0.0
    while True:
        await asyncio.sleep(pause_s)
        while (left_s := _until_due_s(files, now())) > 0:  # noqa: ASYNC110 # time tells nobody
            await asyncio.sleep(min(left_s, LOOK_S))
        if await _renewed(files, security, registries):
            pause_s = LEAST_S
        else:
            pause_s = _retry_s((files.current().ends - now()).total_seconds())


async def _renewed(files: TlsFiles, security: Security, registries: Sequence[Address]) -> bool:
    """Renew it; False: nobody did."""
    failures: list[str] = []
    for registry in registries:
        try:
            await _renew(files, security, registry)
        except grpc.aio.AioRpcError as failure:
            failures.append(f"{registry}: {from_rpc_error(failure).message}")
        except OSError as failure:
            failures.append(f"{registry}: {failure}")
        else:
            log.info("the certificate was renewed; it ends %s", files.current().ends)
            return True
    ends = files.current().ends
    log.warning("the certificate, which ends %s, was not renewed: %s", ends, "; ".join(failures))
    return False


def _until_due_s(files: TlsFiles, now: datetime) -> float:
    """Seconds until a third is left of the time that the certificate was given for."""
    from cryptography.x509 import load_pem_x509_certificate

    held = load_pem_x509_certificate(files.current().certificate)
    ends = held.not_valid_after_utc
    life = ends - held.not_valid_before_utc
    if life > EARLIER:
        life -= EARLIER  # it began before it was given
    return (ends - life / 3 - now).total_seconds()


def _retry_s(left_s: float) -> float:
    """Seconds until it is tried again where so many are left of the certificate."""
    pause_s = RETRY_S if left_s <= 0 else min(RETRY_S, max(LEAST_S, left_s / 4))
    return pause_s * random.uniform(0.5, 1.5)  # noqa: S311 # not a secret


async def _renew(files: TlsFiles, security: Security, registry: Address) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any = load_pem_private_key(files.current().key, None)
    async with open_channel(registry, security=security, of=Role.REGISTRY) as channel:
        stub: Any = RegistryServiceStub(channel)
        request = pb.JoinRequest(certificate_request=certificate_request(key))
        answer = await stub.Join(request, timeout=PATIENCE_S)
    await asyncio.to_thread(files.replace, answer.certificate, answer.authority)
