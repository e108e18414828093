"""A worker's first certificate, which its registry gives it for a token."""

import logging
from pathlib import Path
from typing import Any

import grpc

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.join_token import JoinToken, TokenError, read_token
from inferloom_mesh.roles import Role
from inferloom_mesh.status import from_rpc_error
from inferloom_mesh.tls_reading import TlsError
from inferloom_worker.joining.own_folder import (
    CERTIFICATE,
    certificate_request,
    certify,
    is_certified,
    own_key,
    trust,
)

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""How long the registry may take to give it."""


async def join(folder: Path, token_file: Path) -> None:
    """Get a folder its certificate, unless it has one that is not over.

    All that can be written is written before the token is shown, which is good once. The key stays where that
    fails: who asks again with it may have the answer again.

    Raises:
        TlsError: The token cannot be read, the folder cannot be used, or the registry does not take it.
    """
    if is_certified(folder):
        return
    if (folder / CERTIFICATE).exists():
        log.warning("the certificate in %s is over; joining again with %s", folder, token_file)
    text, token = _read(token_file)
    key = own_key(folder)
    trust(folder, token.authority.encode())
    try:
        answer = await _shown(token, pb.JoinRequest(token=text, certificate_request=certificate_request(key)))
    except grpc.aio.AioRpcError as failure:
        said = from_rpc_error(failure).message
        raise TlsError(f"{token_file}: the registry at {token.at} gave no certificate: {said}") from failure
    certify(folder, answer.certificate, answer.authority, token.at)
    log.info("the registry at %s gave a certificate for %s", token.at, token.name)


def _read(file: Path) -> tuple[str, JoinToken]:
    try:
        text = file.read_text().strip()
        return text, read_token(text)
    except (OSError, UnicodeDecodeError) as failure:
        said = failure.strerror if isinstance(failure, OSError) else "it is no text"
        raise TlsError(f"{file}: cannot be read: {said}") from failure
    except TokenError as wrong:
        raise TlsError(f"{file}: {wrong}") from wrong


async def _shown(token: JoinToken, request: pb.JoinRequest) -> pb.JoinResponse:
    credentials = grpc.ssl_channel_credentials(token.authority.encode())
    options = (("grpc.ssl_target_name_override", Role.REGISTRY.server_name), ("grpc.enable_http_proxy", 0))
    async with grpc.aio.secure_channel(token.at, credentials, options=options) as channel:
        stub: Any = RegistryServiceStub(channel)
        return await stub.Join(request, timeout=PATIENCE_S, wait_for_ready=True)  # type: ignore[no-any-return] # the stub's
