"""Frames with a length on a stream of bytes: how they are cut out of what comes. Pure."""

PREAMBLE = b"inferloom-link/1"
"""What each side sends first: the protocol and its version."""

LARGEST_FRAME = 2**20
"""Bytes of a frame, its length apart."""

LARGEST_GREETING = 2**12
"""Bytes of a first frame from somebody who may be anybody. What shows a mesh's secret is below a hundred."""

_LENGTH = 4


class FrameError(Exception):
    """What came is no frame that may come. Nothing behind it can be read, so its connection ends."""


def framed(frame: bytes) -> bytes:
    """A frame as it is sent."""
    return len(frame).to_bytes(_LENGTH, "big") + frame


class FrameReader:
    """Gathers bytes and gives the frames that are whole. What it holds is less than one frame and one piece
    of what came; each byte is copied a fixed number of times, however small the pieces are.

    Args:
        preamble: What must come before the first frame.
        most: Bytes of a frame, its length apart.
    """

    __slots__ = ("_at", "_expected", "_held", "most")

    def __init__(self, preamble: bytes = PREAMBLE, most: int = LARGEST_FRAME) -> None:
        self.most = most
        """It may be changed between two frames."""
        self._expected = preamble
        self._held: bytes | bytearray = b""
        self._at = 0

    @property
    def partial(self) -> bool:
        """Whether a part of a frame waits for the rest."""
        return self._at < len(self._held)

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        if self._at == len(self._held):
            self._held, self._at = data, 0
            return
        if isinstance(self._held, bytearray):
            del self._held[: self._at]
        else:
            self._held = bytearray(self._held[self._at :])
        self._at = 0
        self._held += data

    def next(self) -> bytes | None:
        """The next frame; None: it has not all come.

        Raises:
            FrameError: The preamble is another, or the frame is too large.
        """
        if self._expected and not self._greeted():
            return None
        held, begin = self._held, self._at + _LENGTH
        if len(held) < begin:
            return None
        size = int.from_bytes(held[self._at : begin], "big")
        if size > self.most:
            raise FrameError(f"a frame of {size} bytes was announced; {self.most} are the most")
        if len(held) < begin + size:
            return None
        frame = bytes(held[begin : begin + size])
        self._at = begin + size
        if self._at == len(held):
            self._held, self._at = b"", 0
        return frame

    def _greeted(self) -> bool:
        first = self._held[self._at : self._at + len(self._expected)]
        if not self._expected.startswith(first):
            raise FrameError(f"it began with {bytes(first)!r}, which is not this protocol")
        if len(first) < len(self._expected):
            return False
        self._at += len(first)
        self._expected = b""
        return True
