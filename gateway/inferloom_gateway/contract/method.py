"""The methods of a service, as its descriptor has them."""

from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions


@dataclass(frozen=True, slots=True)
class Method:
    """A method that takes one request."""

    service: str
    """Full name, such as ``inferloom.v1.InferenceService``."""
    name: str
    """Such as ``Generate``."""
    request: Any
    """The class of its request; Any, as that of every message that is found by descriptor."""
    response: Any
    streams: bool
    """Whether it answers with any number of responses instead of one."""
    reads: bool
    """Whether the contract says that it has no side effects."""

    @property
    def path(self) -> str:
        """How it is called over HTTP, by each protocol."""
        return f"/{self.service}/{self.name}"


def methods_of(service: ServiceDescriptor) -> tuple[Method, ...]:
    """All methods of a service that take one request, in the order of its file."""
    return tuple(
        Method(
            service.full_name,
            method.name,
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
            streams=method.server_streaming,
            reads=method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
        )
        for method in service.methods
        if not method.client_streaming
    )
