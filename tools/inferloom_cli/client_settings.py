"""What the commands that ask a running mesh can be told."""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ModelWrapValidatorHandler, SkipValidation, model_validator
from pydantic_settings import NoDecode

from inferloom_cli.probe import reachable
from inferloom_mesh.net import Address, Addresses, AddressField
from inferloom_mesh.settings import ServiceSettings

GATEWAY = Address("127.0.0.1", 9000)
REGISTRY = Address("127.0.0.1", 7000)
"""Where they are by default."""

_BARE_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+")


def _calls(value: object, port: int) -> Address:
    """An address as people type one: with a scheme and a path, or without a port."""
    if isinstance(value, Address):
        return value
    scheme, found, rest = str(value).strip().rpartition("://")
    if found and scheme not in ("http", "grpc", "dns"):
        raise ValueError(f"{value!r} is no address of gRPC: write host:port, and INFERLOOM_TLS for TLS")
    place = rest.partition("/")[0] if found else rest
    if isinstance(value, str) and _BARE_HOST.fullmatch(place):
        return Address(place, port)
    try:
        return Address.parse(place if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{value!r} is not an address of the form host:port") from None


def _calls_several(value: object) -> Addresses:
    parts: Iterable[object] = value.split(",") if isinstance(value, str) else [value]
    if isinstance(value, list | tuple) and not isinstance(value, Address):
        parts = value
    return Addresses(_calls(part, REGISTRY.port) for part in parts)


_CalledRegistries = Annotated[Addresses, NoDecode, SkipValidation, BeforeValidator(_calls_several)]
_CalledGateway = Annotated[Address, NoDecode, BeforeValidator(lambda value: _calls(value, GATEWAY.port))]


class ClientSettings(ServiceSettings):
    """Addresses to call: where nobody says, those that the services of the same settings listen on. These do
    not count as set."""

    registry_listen: AddressField = REGISTRY
    """Where the registry listens."""

    gateway_grpc_listen: AddressField = GATEWAY
    """Where the gateway's gRPC façade listens."""

    registry: _CalledRegistries = Addresses([REGISTRY])
    """Where the registry is called, or those of one store."""

    gateway: _CalledGateway = GATEWAY
    """Where the gateway's gRPC façade is called."""

    @model_validator(mode="wrap")
    @classmethod
    def _call_what_listens(cls, given: dict[str, Any], read: ModelWrapValidatorHandler[Self]) -> Self:
        found: dict[str, Address] = {}
        for listens, calls in (("registry_listen", "registry"), ("gateway_grpc_listen", "gateway")):
            with suppress(ValueError):  # it is read again, where its fault is told
                if calls not in given and isinstance(given.get(listens), str):
                    found[calls] = reachable(Address.parse(given[listens]))
        made = read({**given, **found})
        made.model_fields_set.difference_update(found)
        return made
