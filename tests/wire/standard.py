"""Stubs of the standard gRPC services. Their types know neither their methods nor asynchronous channels."""

from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc


def health_stub(channel: grpc.aio.Channel) -> Any:
    """grpc.health.v1."""
    return health_pb2_grpc.HealthStub(channel)


def reflection_stub(channel: grpc.aio.Channel) -> Any:
    """grpc.reflection.v1alpha."""
    return reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
