"""Whom a client calls. Pure."""

from collections.abc import Sequence


def addresses(text: str | Sequence[str]) -> list[str]:
    """Addresses as people write them: ``host:port``, several with commas or as a list.

    Raises:
        ValueError: There is none, or one has no port.
    """
    parts = text.split(",") if isinstance(text, str) else text
    found = [part.strip() for part in parts if part.strip()]
    if not found:
        raise ValueError("no address is given")
    for each in found:
        host, _, port = each.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{each!r} is not an address of the form host:port")
    return found


class Turn:
    """Which of several addresses is next: the one that answered last, until it fails."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = list(known)
        self._at = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def current(self) -> str:
        """Whom to call."""
        return self._known[self._at % len(self._known)]

    def failed(self, who: str) -> None:
        """Go on behind the one that failed, unless another call that it failed has done so."""
        at = self._at
        if self._known[at % len(self._known)] == who:
            self._at = at + 1
