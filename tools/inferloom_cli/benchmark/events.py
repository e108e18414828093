"""Server-sent events, cut out of bytes as they come. Pure."""


class EventSplitter:
    """Turns pieces of an event stream, cut anywhere, into the data of its events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that ``piece`` completes; comments and events without data are left out."""
        data = self._rest + piece
        if b"\r" in data:  # a lone one at the end waits in the rest for its line feed
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        return [payload for event in events if (payload := _payload(event)) is not None]


def _payload(event: bytes) -> bytes | None:
    if event.startswith(b"id: "):  # as ours do
        event = event.partition(b"\n")[2]
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
