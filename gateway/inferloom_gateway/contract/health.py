"""gRPC's health service for callers that have only HTTP/1.1; on the gRPC port the server has its own."""

from typing import Any

from grpc_health.v1 import health_pb2

from inferloom_gateway.contract.inference import SERVICE
from inferloom_gateway.contract.known import Known
from inferloom_gateway.contract.method import Method, methods_of
from inferloom_gateway.contract.service import Call, Caller
from inferloom_gateway.gateway import Gateway
from inferloom_mesh.errors import InferloomError, Reason, shown

_HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]  # a class of descriptors that has no stub


class Health:
    """``grpc.health.v1.Health``: whether the gateway can answer, as ``/health`` says it. Without Watch."""

    methods = tuple(method for method in methods_of(_HEALTH) if method.name == "Check")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def begin(self, method: Method, request: Any, caller: Caller) -> Call:
        """Check a service, or with no name all of them.

        Raises:
            InferloomError: It is not served here.
        """
        if request.service not in ("", SERVICE.full_name):
            message = f"The service {shown(request.service)!r} is not served here."
            raise InferloomError(Reason.NOT_FOUND, message, param="service")
        return Known(self._check)

    def _check(self) -> health_pb2.HealthCheckResponse:
        serving = self._gateway.ready()
        kind = health_pb2.HealthCheckResponse
        return kind(status=kind.SERVING if serving else kind.NOT_SERVING)
