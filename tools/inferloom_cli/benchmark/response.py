"""An HTTP/1.1 response, read as it comes. Pure."""

_MOST_HEAD_BYTES = 2**16


class ResponseParser:
    """Turns the bytes of one response into its status and its body, piece by piece.

    A chunked body is handed out in whole chunks, because nothing useful ends in the middle of one.
    """

    def __init__(self) -> None:
        self.status = 0
        """HTTP status; 0 before the head is complete."""
        self.complete = False
        """Whether the last byte of the response was read."""
        self.reusable = True
        """Whether the connection can carry another request once this response is complete."""
        self._rest = b""
        self._chunked = False
        self._left: int | None = 0  # bytes of body to come; None: until the connection ends

    def feed(self, data: bytes) -> bytes:
        """Read more bytes; return as much of the body as they complete, which may be nothing.

        Raises:
            ValueError: This is not an HTTP/1.1 response.
        """
        data = self._rest + data if self._rest else data
        start = 0
        while self.status < 200:
            end = data.find(b"\r\n\r\n", start)
            if end < 0:
                if len(data) > _MOST_HEAD_BYTES:
                    raise ValueError("the response's head has no end")
                self._rest = data[start:]
                return b""
            self._read_head(data[start:end])  # again after an interim response, such as 100 Continue
            start = end + 4
        body = self._read_chunks(data, start) if self._chunked else self._read_plain(data[start:])
        if self.complete and self._rest:
            raise ValueError("there are bytes after the response's end")
        return body

    def end(self) -> None:
        """The connection has ended.

        Raises:
            ValueError: The response is not complete.
        """
        self.reusable = False
        if not self.complete and (self.status < 200 or self._left is not None):
            raise ValueError("the connection ended in the middle of a response")
        self.complete = True

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise ValueError(f"not an HTTP response: {first[:80]!r}")
        self.status = int(rest[:3])
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        connection = fields.get("connection", "").lower()
        self.reusable = "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection
        self._chunked = "chunked" in fields.get("transfer-encoding", "").lower()
        if self._chunked:
            self._left = 1  # some
        elif self.status in {204, 304}:
            self._left = 0
        else:
            self._left = int(fields["content-length"]) if "content-length" in fields else None

    def _read_plain(self, data: bytes) -> bytes:
        self._rest = b""
        if self._left is not None:
            data, self._rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            self.complete = self._left == 0
        return data

    def _read_chunks(self, data: bytes, start: int) -> bytes:
        pieces = []
        while (line := data.find(b"\r\n", start)) >= 0:
            size = int(data[start:line].partition(b";")[0], 16)
            if size == 0:
                end = data.find(b"\r\n\r\n", line)  # past trailers, if there are any
                if end >= 0:
                    self.complete, self._left, start = True, 0, end + 4
                break
            stop = line + 2 + size
            if len(data) < stop + 2:
                break
            pieces.append(data[line + 2 : stop])
            start = stop + 2
        self._rest = data[start:]
        return b"".join(pieces)
