"""A form with one file, read while it arrives (RFC 7578). Knows no network and no event loop."""

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from inferloom_mesh.errors import InferloomError, Reason, invalid, shown

FILE = "file"

MOST_FIELDS = 32
LONGEST_FIELD = 8192
"""Bytes of a field that is no file."""


class Form:
    """Reads a form: the bytes of its part ``file`` go to ``write``, other parts become :attr:`fields`.

    Args:
        content_type: The request's, with the boundary.
        write: Takes the file's bytes as they come.

    Raises:
        InferloomError: The request is no form.
    """

    def __init__(self, content_type: str, write: Callable[[memoryview], object]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 256:
            message = "The body must be multipart/form-data, as `curl -F file=@input.jsonl` sends it."
            raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, message)
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        """The name of the file; None: there was none so far."""
        self._write = write
        self._header = self._value = b""
        self._disposition = b""
        self._name: str | None = None
        """Of the part that is being read; None: it is the file."""
        self._part = bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_ends,
                "on_end": self._ends,
            },
        )

    def feed(self, data: bytes | bytearray) -> None:
        """Read more.

        Raises:
            InferloomError: It is no valid form, or has what is not expected.
        """
        try:
            self._parser.write(bytes(data))
        except FormParserError as failure:
            raise _malformed() from failure

    def finish(self) -> str:
        """See to it that all has come; return the file's name.

        Raises:
            InferloomError: The form is incomplete, or has no file.
        """
        if not self._ended:
            raise _malformed()
        if self.filename is None:
            raise invalid(FILE, f"Missing required parameter: '{FILE}'.")
        return self.filename

    def _part_begins(self) -> None:
        self._header = self._value = self._disposition = b""
        self._part = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed()
        name = options[b"name"].decode("utf-8", "replace")
        if name != FILE:
            if name in self.fields:
                raise invalid(name, f"The form has '{shown(name)}' twice.")
            if len(self.fields) >= MOST_FIELDS or len(name) > LONGEST_FIELD:
                raise InferloomError(Reason.INVALID_ARGUMENT, "The form has too many fields.")
            self._name = name
            return
        if self.filename is not None:
            raise invalid(FILE, "Invalid 'file': one request uploads one file.")
        self._name = None
        self.filename = options.get(b"filename", b"").decode("utf-8", "replace") or "upload"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            self._write(memoryview(data)[start:end])
            return
        self._part += data[start:end]
        if len(self._part) > LONGEST_FIELD:
            message = f"Invalid '{shown(self._name)}': must be at most {LONGEST_FIELD} bytes."
            raise invalid(self._name, message)

    def _part_ends(self) -> None:
        if self._name is not None:
            self.fields[self._name] = self._part.decode("utf-8", "replace")

    def _ends(self) -> None:
        self._ended = True


def _malformed() -> InferloomError:
    return InferloomError(
        Reason.INVALID_ARGUMENT, "The body is no valid and complete multipart/form-data form."
    )
