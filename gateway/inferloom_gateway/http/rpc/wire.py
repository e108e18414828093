"""What the door asks of a protocol: bytes to messages and back. Pure; the door has the connection."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from inferloom_gateway.http.rpc.codec import Codec
from inferloom_mesh.access_line import Door
from inferloom_mesh.errors import InferloomError, Reason, shown

Raw = bytes | bytearray
Headers = Mapping[str, str]

_IDENTITY = "identity"

STREAMED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""For what stands between a stream and its reader."""


class Wire(ABC):
    """One call in one protocol."""

    door: Door
    """How logs and metrics name the protocol."""
    media_type: str
    """Of a response."""
    coding_header: str
    """Says how messages of the request are compressed."""

    def __init__(self, codec: Codec, media_type: str, headers: Headers) -> None:
        self.codec = codec
        self.media_type = media_type
        self._headers = headers

    @property
    def quick(self) -> int:
        """Bodies below this size may be read on an event loop: none that are compressed."""
        return 0 if self._headers.get(self.coding_header) else self.codec.quick

    @property
    def coding(self) -> str | None:
        """How compressed messages of the request are; None: they are not.

        Raises:
            InferloomError: UNIMPLEMENTED, as both protocols ask: in a way that is not understood here.
        """
        name = self._headers.get(self.coding_header) or _IDENTITY
        if name not in ("gzip", _IDENTITY):
            message = f"Compression by {shown(name)!r} is not supported; gzip and identity are."
            raise InferloomError(Reason.UNIMPLEMENTED, message)
        return None if name == _IDENTITY else name

    @abstractmethod
    def time_left(self) -> float | None:
        """Seconds that the caller allows; None: as many as the gateway does.

        Raises:
            InferloomError: The headers of the request are malformed.
        """

    @abstractmethod
    def message(self, raw: Raw, limit: int) -> Raw:
        """The request's message in a body; at most ``limit`` bytes.

        Raises:
            InferloomError: There is none in it.
        """

    @abstractmethod
    def whole(self, data: bytes) -> bytes:
        """The body that answers with one message."""

    @abstractmethod
    def frame(self, data: bytes) -> bytes:
        """A message as a part of the body of a stream."""

    @abstractmethod
    def end(self, error: InferloomError | None) -> bytes:
        """What ends the body of a stream."""

    @abstractmethod
    def refusal(self, error: InferloomError) -> tuple[int, Headers, bytes]:
        """Status, headers and body of the response to a call that failed before any message."""
