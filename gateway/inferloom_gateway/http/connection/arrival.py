"""How much of a request has arrived, of all that is bounded. Knows neither clock nor connection."""

from inferloom_gateway.http.connection.heads import (
    MAX_HEAD_BYTES,
    Headers,
    framing_too_large,
    head_too_large,
    misread,
    size_of,
)
from inferloom_mesh.errors import InferloomError

NOTED = frozenset({b"host", b"transfer-encoding"})
"""Headers that are looked at as they come."""


class Arrival:
    """Counts the request that a connection is receiving. One object serves all of its requests."""

    __slots__ = (
        *("_begun", "_codings", "_framing", "_head_bytes", "_hosts", "_segment"),
        *("came", "in_head", "under_way"),
    )

    def __init__(self) -> None:
        self.under_way = False
        """Whether a request has begun to arrive and is not complete."""
        self.in_head = False
        self.came = 0
        """Bytes that have arrived since somebody set it to zero."""
        self._head_bytes = 0
        """What has arrived of a head that is not complete."""
        self._framing = 0
        """What has arrived of a body in chunks beside the body itself."""
        self._segment = self._begun = 0
        """Bytes of the segment that is read, and requests that began in it."""
        self._hosts: list[bytes] = []
        self._codings: list[bytes] = []

    def segment(self, size: int) -> None:
        """So many bytes have come, and are going to be parsed."""
        self._segment, self._begun = size, 0
        if self.in_head:
            self._head_bytes += size
        elif self._codings:
            self._framing += size
        self.came += size

    def begin(self) -> None:
        """A request begins."""
        self.under_way = self.in_head = True
        self._head_bytes = self._framing = 0
        self._begun += 1
        self._hosts, self._codings = [], []

    def header(self, name: bytes, value: bytes) -> None:
        """One of the NOTED headers of it came."""
        if name == b"host":
            self._hosts.append(value)
        else:
            self._codings.append(value)

    def head(self, version: str, url: bytes, headers: Headers) -> InferloomError | None:
        """Its head is complete. Returns what is wrong with it; then it is still its head that arrives."""
        size = size_of(url, headers)
        if self._codings and self._begun < 2:
            self._framing = (self._head_bytes or self._segment) - size
        fault = misread(version, url, headers, size, self._hosts, self._codings)
        self.in_head = fault is not None
        return fault

    def content(self, size: int) -> None:
        """So many bytes were content."""
        self._framing -= size

    def complete(self) -> InferloomError | None:
        """It is complete. Returns what is wrong with how it was framed."""
        if self._codings and self._framing > MAX_HEAD_BYTES:
            return framing_too_large()
        self.under_way = False
        return None

    def over(self) -> InferloomError | None:
        """Which bound is passed by what has come of one that is not complete."""
        if self.in_head and self._head_bytes > MAX_HEAD_BYTES:
            return head_too_large()
        if self._framing > MAX_HEAD_BYTES and self._codings and not self.in_head:
            return framing_too_large()
        return None
