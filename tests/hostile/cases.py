"""The form of a case: an exact request, and an exact answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

AUTH = b"%AUTH%"
"""In a request's bytes: the header that shows a key, where the mesh asks for one."""


@dataclass(frozen=True, slots=True)
class RestCase:
    """Bytes to the REST port, and what comes back."""

    name: str
    request: bytes
    status: int
    """Of the answer; 0: the connection ends without one."""
    code: str | None = None
    """Of the error object."""
    words: str = ""
    """In the error's message, or else in the body."""
    closes: bool = False
    """Whether the connection ends with the answer."""
    absent: str = ""
    """Nowhere in the answer."""
    answers: int = 1
    """How many requests the bytes are, and so how many answers come; the last one is looked at."""


@dataclass(frozen=True, slots=True)
class RpcCase:
    """A call by gRPC, and how it ends."""

    name: str
    method: str
    """``Service/Method`` of inferloom.v1, or a whole path."""
    request: Any
    """A message, bytes that are to be one, or several of them."""
    status: str
    """The name of the gRPC status."""
    reason: str = ""
    """Of the ErrorInfo; empty: the status is not ours."""
    words: str = ""
    """In the status's message, or in the last response's text."""
    metadata: Sequence[tuple[str, str | bytes]] = ()
    timeout: float | None = 20.0
    compressed: bool = False


def varint(number: int) -> bytes:
    """A number as protobuf has it."""
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    """A field of bytes as protobuf has it."""
    return varint(number << 3 | 2) + varint(len(content)) + content
