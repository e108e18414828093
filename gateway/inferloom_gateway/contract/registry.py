"""The registry's calls that change nothing, through the gateway."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from inferloom.v1 import registry_pb2
from inferloom_gateway.contract.method import Method, methods_of
from inferloom_gateway.contract.service import NO_HEADERS, Call, Caller, Events
from inferloom_gateway.gateway import Gateway
from inferloom_mesh.channel import open_channel
from inferloom_mesh.closing import Closing
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.roles import Role
from inferloom_mesh.status import from_rpc_error

SERVICE = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"]


class RegistryReads:
    """The methods of ``RegistryService`` that have no side effects, by their own word. Errors leave as the
    registry raised them; streams end when the gateway stops. After a registry that is lost the next call goes
    to another one."""

    methods = tuple(method for method in methods_of(SERVICE) if method.reads)

    def __init__(self, gateway: Gateway) -> None:
        self._registries = gateway.settings.registry
        self._at = 0
        self._security = gateway.security
        self._stopping = gateway.stopping
        self._channels: dict[int, grpc.aio.Channel] = {}

    def begin(self, method: Method, request: Any, caller: Caller) -> Call:
        """Make a call of the registry."""
        at = self._at
        if at not in self._channels:
            self._channels[at] = open_channel(self._registries[at], security=self._security, of=Role.REGISTRY)
        channel = self._channels[at]
        make: Any = channel.unary_stream if method.streams else channel.unary_unary
        called = make(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        call = called(request, timeout=caller.time_left, metadata=self._security.metadata)
        return _Forwarded(call, self._stopping, lambda: self._leave(at))

    async def close(self) -> None:
        """End what still runs."""
        for channel in self._channels.values():
            await channel.close()

    def _leave(self, at: int) -> None:
        if at == self._at:
            self._at = (at + 1) % len(self._registries)


class _Forwarded(Closing):
    """A call of the registry."""

    record = None
    headers = NO_HEADERS

    def __init__(self, call: Any, stopping: asyncio.Event, leave: Callable[[], None]) -> None:
        self._call = call
        self._stopping = stopping
        self._leave = leave

    async def answer(self) -> Any:
        try:
            return await self._call
        except grpc.aio.AioRpcError as failure:
            raise self._told(failure) from failure

    async def events(self) -> Events:
        return self

    async def read(self) -> Any:
        """The next response; None after the last, and when the gateway stops."""
        reading = asyncio.ensure_future(self._call.read())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return None
            response = reading.result()
        except grpc.aio.AioRpcError as failure:
            raise self._told(failure) from failure
        finally:
            reading.cancel()
            stopping.cancel()
        return None if response is grpc.aio.EOF else response

    def close(self) -> None:
        self._call.cancel()

    def _told(self, failure: grpc.aio.AioRpcError) -> InferloomError:
        """The registry's own error; one that cannot be reached is no worker that was lost."""
        error = from_rpc_error(failure)
        if failure.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            self._leave()
        if error.reason is Reason.WORKER_LOST:
            return InferloomError(Reason.NO_WORKER, "The registry does not answer.", retry_after=1.0)
        return error
