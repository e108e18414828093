"""Server-sent events of a stream of bytes, as far as model servers write them. Pure and bounded."""

from collections.abc import Iterator

MOST_EVENT_BYTES = 2**24
"""Largest event: the ids of a prompt of a million tokens fit."""


class MalformedError(ValueError):
    """A server said something that is none of its API; the message says what, for people."""


class EventReader:
    """Cuts bytes into events, whatever pieces they come in.

    Of an event its data is given. Comments, names and ids are passed over; a line ``error:`` is data too, as
    llama-server of old writes it.
    """

    def __init__(self, most: int = MOST_EVENT_BYTES) -> None:
        self._most = most
        self._rest = bytearray()
        self._looked = 0
        """Bytes of the rest that are known to hold no end of a line."""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of each event that ends in these bytes.

        Raises:
            MalformedError: An event is too large.
        """
        rest = self._rest
        rest += data
        while (end := rest.find(b"\n", self._looked)) >= 0:
            line = bytes(rest[:end]).removesuffix(b"\r")
            del rest[: end + 1]
            self._looked = 0
            if line:
                self._take(line)
            elif self._data:
                event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data, self._size = [], 0
                yield event
        self._looked = len(rest)
        self._check(len(rest))

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name in (b"data", b"error"):
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)
            self._check(0)

    def _check(self, more: int) -> None:
        if self._size + more > self._most:
            raise MalformedError(f"an event of over {self._most} bytes")
