"""Messages as bytes, in the two forms that the protocols know."""

from codecs import BOM_UTF8
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from inferloom_mesh.errors import InferloomError, Reason


class Codec(Protocol):
    """One form of messages."""

    name: str
    """How media types call it."""
    quick: int
    """Messages below this size in bytes may be read and made on an event loop."""

    def decode(self, data: bytes | bytearray, kind: Any) -> Any:
        """The message of class ``kind`` that ``data`` holds. Raises InferloomError if it holds none."""

    def encode(self, message: Message) -> bytes:
        """The bytes of a message."""


class Binary:
    """The binary form: a gigabyte takes about a second."""

    name = "proto"
    quick = 2**18

    def decode(self, data: bytes | bytearray, kind: Any) -> Any:
        """As Codec's."""
        try:
            return kind.FromString(bytes(data))
        except DecodeError:
            raise InferloomError(
                Reason.INVALID_ARGUMENT, "The request is not a valid message of its type."
            ) from None

    def encode(self, message: Message) -> bytes:
        """As Codec's."""
        return message.SerializeToString()


class Json:
    """ProtoJSON, read and made in Python: a megabyte takes a third of a second.

    A field that the message does not have is refused by its name. Field names of answers are in camelCase;
    both spellings are read.
    """

    name = "json"
    quick = 2**12

    def decode(self, data: bytes | bytearray, kind: Any) -> Any:
        """As Codec's."""
        message, text = kind(), bytes(data).removeprefix(BOM_UTF8).lstrip(b" \t\r\n")
        try:
            if not text.startswith(b"{"):  # the library takes an empty list for a message without fields
                raise json_format.ParseError("it is no JSON object")
            json_format.Parse(text, message)
        except Exception as failure:  # ParseError, and what odd numbers and odd bytes raise below it
            said = str(failure).partition("\n")[0] or type(failure).__name__
            raise InferloomError(
                Reason.INVALID_ARGUMENT, f"The request is not a message of its type in JSON: {said}"
            ) from None
        return message

    def encode(self, message: Message) -> bytes:
        """As Codec's."""
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()


CODECS: dict[str, Codec] = {codec.name: codec for codec in (Binary(), Json())}
