"""Health checking and reflection: streams that watch a server, and that must not hold up its stop."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

T = TypeVar("T")

Context = grpc.aio.ServicerContext[Any, Any]


class HealthServicer(health_pb2_grpc.HealthServicer):
    """``grpc.health.v1.Health`` for the server as a whole (no name) and for each of ``services``.

    Unlike grpc's own servicer it ends its Watch streams when told to, after their last status: every client
    with client-side health checking holds one, and a server that waited for them would never stop early.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._names = frozenset(("", *services))
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Say whether the server serves. After :meth:`close` nothing changes any more."""
        if serving != self._serving and not self._closed:
            self._serving = serving
            self._wake()

    def close(self) -> None:
        """Say NOT_SERVING to all, and end every Watch."""
        self.set_serving(False)
        self._closed = True
        self._wake()

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """Return the status; NOT_FOUND for an unknown service."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return pb.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """Send the status, and again whenever it has changed; SERVICE_UNKNOWN for an unknown service."""
        last = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != last:
                last = status
                yield pb.HealthCheckResponse(status=status)
            if self._closed and status == self._status(request.service):
                return
            await changed.wait()

    def _status(self, service: str) -> Any:  # an enum whose type the stub hides
        if service not in self._names:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.SERVING if self._serving else pb.HealthCheckResponse.NOT_SERVING

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


REFLECTION = "grpc.reflection.v1.ServerReflection"
"""Reflection's stable version. Its messages are those of v1alpha in another package, byte for byte."""


def _describe_reflection() -> None:
    """Let reflection describe its stable version, whose descriptors no Python package has."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(REFLECTION)
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(file)
        stable = text_format.MessageToString(file).replace("v1alpha", "v1")
        pool.AddSerializedFile(
            text_format.Parse(stable, descriptor_pb2.FileDescriptorProto()).SerializeToString()
        )


class ReflectionServicer(reflection_pb2_grpc.ServerReflectionServicer):
    """Reflection by both of its names, whose streams end when told to."""

    def __init__(self, services: Iterable[str]) -> None:
        self._answers: Any = reflection.aio.ReflectionServicer(services)  # its stub is wrong about streams
        self._closed = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve ``grpc.reflection.v1`` and ``v1alpha``."""
        _describe_reflection()
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(self, server)  # type: ignore[no-untyped-call] # the library's
        kind: Any = grpc.stream_stream_rpc_method_handler  # the stubs know synchronous servers only
        handler = kind(
            self.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        by_name = grpc.method_handlers_generic_handler(REFLECTION, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((by_name,))

    def close(self) -> None:
        """End every stream; what was asked before is still answered."""
        self._closed.set()

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], context: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer questions about the server's services."""
        async for answer in self._answers.ServerReflectionInfo(_until(self._closed, requests), context):
            yield answer


async def _until(closed: asyncio.Event, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The items that come before ``closed`` is set."""
    closing = asyncio.create_task(closed.wait())
    items = aiter(items)
    try:
        while True:
            read = asyncio.ensure_future(anext(items, None))
            await asyncio.wait({read, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not read.done():
                read.cancel()
                return
            if (item := read.result()) is None:
                return
            yield item
    finally:
        closing.cancel()
