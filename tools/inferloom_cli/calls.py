"""Calls to a running mesh, with failures in one line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from inferloom.v1.registry_pb2 import Worker
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import RefusedError
from inferloom_cli.trouble import trouble_of
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role

DEADLINE_S = 10.0
"""How long a question about the mesh may take."""

_ROLES = {"registry": Role.REGISTRY, "worker": Role.WORKER}
"""What must answer. A gateway is asked for a certificate for its host, as any of its callers would."""


class _ShowsUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds metadata to calls that have one response."""

    def __init__(self, shown: Credentials) -> None:
        self._shown = shown

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Make the call."""
        return await continuation(_with(details, self._shown), request)


class _ShowsStream(grpc.aio.UnaryStreamClientInterceptor):
    """Adds metadata to calls that have a stream of responses."""

    def __init__(self, shown: Credentials) -> None:
        self._shown = shown

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """Make the call."""
        return await continuation(_with(details, self._shown), request)


def _with(details: Any, shown: Credentials) -> Any:
    return details._replace(metadata=(*(details.metadata or ()), *shown.metadata))


def opened(
    service: str, address: Address, shown: Credentials = NOTHING, of: Role | None = None
) -> grpc.aio.Channel:
    """A channel to ``service`` whose calls show who makes them; ``of`` is what must answer, where its name
    does not say that."""
    adding = [_ShowsUnary(shown), _ShowsStream(shown)] if shown.metadata else []
    return open_channel(address, adding, security=shown.security, of=of or _ROLES.get(service))


@asynccontextmanager
async def calling(
    service: str, address: Address, shown: Credentials = NOTHING, of: Role | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to ``service`` (its name for people), for calls inside the block; ``of`` as in
    :func:`opened`.

    Raises:
        RefusedError: A call failed, or nothing listens there.
    """
    async with opened(service, address, shown, of) as channel:
        try:
            yield channel
        except grpc.aio.AioRpcError as failure:
            raise RefusedError(str(trouble_of(failure, service, address, shown))) from failure


@asynccontextmanager
async def calling_worker(worker: Worker, shown: Credentials = NOTHING) -> AsyncIterator[grpc.aio.Channel]:
    """As :func:`calling`, for a worker as a registry lists it.

    Raises:
        RefusedError: Its address is none, too.
    """
    try:
        address = Address.parse(worker.address)
    except ValueError as odd:
        raise RefusedError(f"the registry lists no address of it that can be called: {odd}") from odd
    async with calling("worker", address, shown) as channel:
        yield channel
