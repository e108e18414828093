"""A worker's certificate from its registry: the first for a token, the next ones for the one that it has."""

import asyncio
import logging
import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.authority import key_pem, new_key, write_new
from inferloom_mesh.channel import open_channel
from inferloom_mesh.join_token import TokenError, read_token
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security
from inferloom_mesh.status import from_rpc_error
from inferloom_mesh.tls_files import TlsError, TlsFiles

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""How long the registry may take to give the first certificate."""

RETRY_S = 60.0
"""How long after a renewal that failed the next one is tried."""


async def join(folder: Path, token_file: Path) -> None:
    """Get a folder its certificate, unless it has one.

    Raises:
        TlsError: The token cannot be read, or the registry does not take it.
    """
    text = _token_for(folder, token_file)
    if text is None:
        return
    token = read_token(text)
    key = new_key()
    credentials = grpc.ssl_channel_credentials(token.authority.encode())
    options = (("grpc.ssl_target_name_override", Role.REGISTRY.server_name), ("grpc.enable_http_proxy", 0))
    async with grpc.aio.secure_channel(token.at, credentials, options=options) as channel:
        stub: Any = RegistryServiceStub(channel)
        request = pb.JoinRequest(token=text, certificate_request=_request(key))
        try:
            answer = await stub.Join(request, timeout=PATIENCE_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as failure:
            said = from_rpc_error(failure).message
            raise TlsError(
                f"{token_file}: the registry at {token.at} gave no certificate: {said}"
            ) from failure
    write_new(folder, {"tls.key": key_pem(key), "ca.crt": answer.authority, "tls.crt": answer.certificate})
    log.info("the registry at %s gave a certificate for %s", token.at, token.name)


def _token_for(folder: Path, file: Path) -> str | None:
    """The token in ``file``. None: the folder has a certificate already."""
    if (folder / "tls.crt").exists():
        return None
    try:
        text = file.read_text().strip()
        read_token(text)
    except OSError as failure:
        raise TlsError(f"{file}: cannot be read: {failure.strerror}") from failure
    except TokenError as wrong:
        raise TlsError(f"{file}: {wrong}") from wrong
    return text


async def keep_renewed(security: Security, registries: list[Address]) -> None:
    """Renew the certificate when two thirds of its life are over, until cancelled. The key stays, so that
    only one file changes."""
    files = security.tls
    assert files is not None
    while True:
        await asyncio.sleep(_until_due(files))
        for registry in registries:
            try:
                await _renew(files, security, registry)
                break
            except (OSError, grpc.aio.AioRpcError) as failure:
                said = (
                    from_rpc_error(failure).message if isinstance(failure, grpc.aio.AioRpcError) else failure
                )
                ends = files.current().ends
                log.warning("the certificate, which ends %s, was not renewed by %s: %s", ends, registry, said)
        else:
            await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 # not a secret


def _until_due(files: TlsFiles) -> float:
    from cryptography.x509 import load_pem_x509_certificate

    held = load_pem_x509_certificate(files.current().certificate)
    begins, ends = held.not_valid_before_utc, held.not_valid_after_utc
    return max(0.0, (begins + (ends - begins) * 2 / 3 - datetime.now(UTC)).total_seconds())


async def _renew(files: TlsFiles, security: Security, registry: Address) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any = load_pem_private_key(files.current().key, None)
    async with open_channel(registry, security=security, of=Role.REGISTRY) as channel:
        stub: Any = RegistryServiceStub(channel)
        answer = await stub.Join(pb.JoinRequest(certificate_request=_request(key)), timeout=PATIENCE_S)
    draft = files.folder / f".tls.crt.{os.getpid()}"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(answer.certificate)
    draft.replace(files.folder / "tls.crt")
    files.look()
    log.info("the certificate was renewed; it ends %s", files.current().ends)


def _request(key: Any) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import CertificateSigningRequestBuilder, Name

    made = CertificateSigningRequestBuilder().subject_name(Name([])).sign(key, SHA256())
    return made.public_bytes(Encoding.DER)
