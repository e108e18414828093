"""Addresses."""

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, NamedTuple, Self

from pydantic import BeforeValidator, PlainSerializer, SkipValidation
from pydantic_settings import NoDecode

_FORM = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")


class Address(NamedTuple):
    """A host and a TCP port, written ``host:port`` (IPv6 as ``[::1]:7000``)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``host:port``.

        Raises:
            ValueError: The text has another form, or the port is over 65535.
        """
        match = _FORM.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(f"{text!r} is not an address of the form host:port")
        return cls(match["host"], int(match["port"]))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


WILDCARDS = ("0.0.0.0", "[::]", "*")  # noqa: S104 # compared with, not bound to
"""Hosts of who listens on every interface."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can call a host of this name."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def interface_towards(peer: Address | None) -> str:
    """The address of this machine's interface that leads to ``peer``; the machine's name where none does."""
    if peer is None:
        return socket.gethostname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer.host, peer.port))  # sends nothing; the system picks the interface
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


def _read(value: object) -> object:
    if isinstance(value, str):
        return Address.parse(value)
    if not isinstance(value, Address):  # 7000 of a settings file, say
        raise ValueError(f"{value!r} is not an address of the form host:port")
    return value


AddressField = Annotated[Address, NoDecode, BeforeValidator(_read), PlainSerializer(str)]
"""An :class:`Address` in a settings object, read from ``host:port``."""


class Addresses(tuple[Address, ...]):
    """Addresses of one service that runs several times, written ``host:port,host:port``; at least one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read them.

        Raises:
            ValueError: There is none, one has another form, or one comes twice.
        """
        found = cls(Address.parse(part.strip()) for part in text.split(","))
        if len(set(found)) < len(found):
            raise ValueError(f"{text!r} names an address twice")
        return found

    def __str__(self) -> str:
        return ",".join(map(str, self))


def _read_several(value: object) -> object:
    if isinstance(value, Address):
        return Addresses([value])
    if isinstance(value, str):
        return Addresses.parse(value)
    if isinstance(value, Sequence) and value:
        return Addresses.parse(",".join(map(str, value)))
    raise ValueError(f"{value!r} is not an address of the form host:port")


AddressesField = Annotated[
    Addresses, NoDecode, SkipValidation, BeforeValidator(_read_several), PlainSerializer(str)
]
"""Several addresses in a settings object, read from ``host:port,host:port`` or from a list."""
