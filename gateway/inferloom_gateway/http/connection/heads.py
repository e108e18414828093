"""What is asked of a request's head beyond what the parser asks, and the errors of what never became a
request."""

import re
from collections.abc import Sequence

from inferloom_mesh.errors import InferloomError, Reason

Headers = Sequence[tuple[bytes, bytes]]

MAX_HEAD_BYTES = 64 * 2**10
"""Largest request line and headers together; as much may the framing of a body in chunks take, with
extensions and trailers."""

MAX_HEADERS = 256
"""Most headers of a request."""

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")


def size_of(url: bytes, headers: Headers) -> int:
    """Bytes of a head, its line ends included but for those of its first line."""
    size = len(url)
    for name, value in headers:
        size += len(name) + len(value) + 4
    return size


def misread(
    version: str, url: bytes, headers: Headers, size: int, hosts: Sequence[bytes], codings: Sequence[bytes]
) -> InferloomError | None:
    """What is wrong with a head that the parser takes: its size, or that two servers could read it
    differently.

    Args:
        version: Such as ``1.1``.
        url: The request's target.
        headers: All of them.
        size: As :func:`size_of` says.
        hosts: Of the headers, the values of Host.
        codings: Those of Transfer-Encoding.
    """
    if len(headers) > MAX_HEADERS:
        message = f"The request has more than {MAX_HEADERS} headers."
        return InferloomError(Reason.REQUEST_HEAD_TOO_LARGE, message)
    if size > MAX_HEAD_BYTES:
        return head_too_large()
    if version == "1.1":
        fine = len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None
    else:
        fine = version == "1.0" and len(hosts) < 2 and not codings
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        fine = False
    if url[:1] != b"/" and b"://" not in url:
        fine = False
    return None if fine else invalid()


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """A head as it would be without its offer to upgrade."""
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    for name, value in headers:
        if name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            value = b", ".join(option for option in options if option.lower() != b"upgrade")
        if name != b"upgrade":
            lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def invalid() -> InferloomError:
    """It is not HTTP as it should be."""
    return InferloomError(Reason.INVALID_ARGUMENT, "This is not a valid HTTP/1.1 request.")


def head_too_large() -> InferloomError:
    """Its head is."""
    message = f"The head of the request is over the limit of {MAX_HEAD_BYTES} bytes."
    return InferloomError(Reason.REQUEST_HEAD_TOO_LARGE, message)


def framing_too_large() -> InferloomError:
    """What is beside the content of its chunks is."""
    message = f"The chunks' sizes and trailers are over the limit of {MAX_HEAD_BYTES} bytes."
    return InferloomError(Reason.REQUEST_HEAD_TOO_LARGE, message)


def too_slow(limit_s: float) -> InferloomError:
    """It did not come in time."""
    return InferloomError(Reason.REQUEST_TIMEOUT, f"The request did not arrive within {limit_s:g} s.")
