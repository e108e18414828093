"""Undoes the Content-Encoding of a request's body."""

import zlib

from inferloom_mesh.errors import InferloomError, Reason, shown

_AUTO = 32 + zlib.MAX_WBITS
"""gzip's header or zlib's, as the data says."""
_RAW = -zlib.MAX_WBITS
_CODINGS = ("gzip", "x-gzip", "deflate")


def coding_of(header: str | None) -> str | None:
    """The coding that a Content-Encoding header names; None for no coding.

    Raises:
        InferloomError: It is none of those that are understood here.
    """
    coding = (header or "identity").strip().lower()
    if coding == "identity":
        return None
    if coding not in _CODINGS:
        message = f"Content-Encoding {shown(coding)!r} is not supported; gzip and deflate are."
        raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, message)
    return coding


def decoded(raw: bytes | bytearray, coding: str, limit: int) -> bytes:
    """The body that ``raw`` holds in ``coding``; never more than ``limit`` bytes are made of it.

    Raises:
        InferloomError: It is larger than ``limit``, or no such data.
    """
    # Some senders of "deflate" leave zlib's header out; its first byte always ends in 8.
    bare = coding == "deflate" and raw[:1] != b"" and raw[0] & 15 != 8
    parts: list[bytes] = []
    room = limit
    data: bytes | bytearray = raw
    try:
        while True:
            inflater = zlib.decompressobj(_RAW if bare else _AUTO)
            part = inflater.decompress(data, room + 1)
            room -= len(part)
            if room < 0:
                message = f"The decoded body is over the limit of {limit} bytes."
                raise InferloomError(Reason.REQUEST_TOO_LARGE, message)
            parts.append(part)
            if not inflater.eof:
                break
            data = inflater.unused_data  # a gzip file may have several members
            if not data:
                return b"".join(parts)
    except zlib.error:
        pass
    raise InferloomError(Reason.INVALID_ARGUMENT, f"The body is not valid {coding} data.")
