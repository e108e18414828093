"""The inference contract through clients of its three protocols: grpc's own, and Connect's for the others."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from connectrpc.client import ConnectClient
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.rpc import error_details_pb2

from inferloom_gateway.contract.inference import Inference
from inferloom_gateway.contract.method import Method
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.status import from_rpc_error
from tests.wire.gateway_mesh import GatewayMesh

METHODS = {method.name: method for method in Inference.methods}

HTTP_DOORS = ("connect-proto", "connect-json", "grpc-web-proto", "grpc-web-json")
DOORS = ("grpc", *HTTP_DOORS)
"""Protocols with the forms of messages that they are spoken in."""


class RefusedError(Exception):
    """A call failed: what its caller was told, and by which status."""

    def __init__(self, error: InferloomError, code: str) -> None:
        super().__init__(error.message)
        self.error = error
        self.code = code


async def ask(mesh: GatewayMesh, door: str, method: str, request: Any, **options: Any) -> Any:
    """The response of a method that has one. Raises RefusedError."""
    [response] = [each async for each in responses(mesh, door, METHODS[method], request, **options)]
    return response


async def responses(
    mesh: GatewayMesh, door: str, method: Method, request: Any, **options: Any
) -> AsyncGenerator[Any, None]:
    """All responses of a call. Raises RefusedError.

    ``options``: ``timeout_ms`` and ``headers`` for all, ``use_get`` for Connect.
    """
    if door == "grpc":
        async with aclosing(_by_grpc(mesh, method, request, **options)) as answers:
            async for response in answers:
                yield response
        return
    protocol, _, form = door.rpartition("-")
    kinds = {"connect": ProtocolType.CONNECT, "grpc-web": ProtocolType.GRPC_WEB}
    codec = google_protobuf_json_codec() if form == "json" else google_protobuf_binary_codec()
    described = MethodInfo(
        name=method.name,
        service_name=method.service,
        input=method.request,
        output=method.response,
        idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS if method.reads else IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if method.streams else StreamType.UNARY,
    )
    async with ConnectClient(f"http://{mesh.rest}", codec=codec, protocol=kinds[protocol]) as client:
        try:
            if not method.streams:
                yield await client.execute_unary(request=request, method=described, **options)
                return
            stream: Any = client.execute_server_stream(request=request, method=described, **options)
            async with aclosing(stream):
                async for response in stream:
                    yield response
        except ConnectError as failure:
            raise RefusedError(_error_of(failure), failure.code.value) from failure


async def _by_grpc(
    mesh: GatewayMesh, method: Method, request: Any, timeout_ms: int | None = None, headers: Any = None
) -> AsyncGenerator[Any, None]:
    timeout = None if timeout_ms is None else timeout_ms / 1000
    call = getattr(mesh.stub, method.name)(request, timeout=timeout, metadata=tuple((headers or {}).items()))
    try:
        if not method.streams:
            yield await call
            return
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()
    except grpc.aio.AioRpcError as failure:
        raise RefusedError(from_rpc_error(failure), failure.code().name.lower()) from failure


def _error_of(failure: ConnectError) -> InferloomError:
    """What the details say, of which there must be exactly one ErrorInfo."""
    found: dict[str, Any] = {}
    for detail in failure.details:
        kind = detail.type_name.rpartition(".")[2]
        assert kind not in found
        found[kind] = getattr(error_details_pb2, kind).FromString(detail.message_bytes)
    assert "ErrorInfo" in found, failure
    assert found["ErrorInfo"].domain == "inferloom"
    field = found["BadRequest"].field_violations[0].field if "BadRequest" in found else None
    after = found["RetryInfo"].retry_delay.ToTimedelta().total_seconds() if "RetryInfo" in found else None
    return InferloomError(Reason(found["ErrorInfo"].reason), failure.message, param=field, retry_after=after)


__all__ = ["DOORS", "HTTP_DOORS", "METHODS", "Code", "RefusedError", "ask", "responses"]
