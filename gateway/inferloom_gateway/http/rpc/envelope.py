"""The frames of both protocols: a byte of flags, four of the length, most significant first, and the data."""

from inferloom_gateway.http.content_encoding import decoded
from inferloom_mesh.errors import InferloomError, Reason

_COMPRESSED = 0b1
_HEAD_BYTES = 5


def envelope(data: bytes, flags: int = 0) -> bytes:
    """One frame."""
    return bytes((flags,)) + len(data).to_bytes(4, "big") + data


def only_message(raw: bytes | bytearray, coding: str | None, limit: int) -> bytes | bytearray:
    """The data of the one frame that a body must be, at most ``limit`` bytes of it.

    ``coding`` is how frames that are flagged as compressed are.

    Raises:
        InferloomError: It is not one whole frame.
    """
    if not raw:
        raise InferloomError(Reason.UNIMPLEMENTED, "The body holds no message; the method takes one.")
    size = int.from_bytes(raw[1:_HEAD_BYTES], "big")
    if len(raw) < _HEAD_BYTES or len(raw) - _HEAD_BYTES < size:
        raise _malformed(f"The message's frame says {size} bytes, and the body ends before")
    if len(raw) - _HEAD_BYTES > size:
        raise InferloomError(
            Reason.UNIMPLEMENTED, "The body goes on behind its first message; the method takes one."
        )
    flags, data = raw[0], raw[_HEAD_BYTES:]
    if flags & ~_COMPRESSED:
        raise _malformed(f"The message's frame has flags {flags:#010b}, which mean nothing in a request")
    if not flags:
        return data
    if coding is None:
        raise _malformed("The message is flagged as compressed, and no header says how")
    return decoded(data, coding, limit)


def _malformed(message: str) -> InferloomError:
    return InferloomError(Reason.INVALID_ARGUMENT, message + ".")
