"""What an attachment and the stream that carries its frames ask of each other."""

from typing import Protocol

from inferloom.v1 import link_pb2
from inferloom_gateway.calls.attempt import Verdict


class Desk(Protocol):
    """An attachment, as its stream sees it."""

    heard: bool
    """Whether the worker has answered."""

    def take(self, frame: link_pb2.AttachResponse) -> None:
        """Take in a frame. Raises whatever it breaks; the stream then ends with :meth:`fault` of that."""

    def next(self) -> link_pb2.AttachRequest | None:
        """The next frame for the worker; None: there is none now."""

    def fault(self, failure: Exception) -> Verdict:
        """What a failure of :meth:`take` means for the calls. It is logged."""

    def end(self, verdict: Verdict, *, refused: bool = False) -> None:
        """The stream has ended, and so do the calls, with ``verdict``; ``refused``: the worker has no such
        streams."""


class FrameStream(Protocol):
    """One way for frames to a worker and back. It is over once it has called the desk's ``end``."""

    def start(self, desk: Desk) -> None:
        """Carry the frames of ``desk`` from now on."""

    def wake(self) -> None:
        """There is something to send. What comes in one turn of the event loop goes together."""

    def hurry(self) -> None:
        """There is something to send, and nothing to be expected that could go with it: it goes at once where
        that can be."""

    def cancel(self) -> None:
        """End it."""

    async def ended(self) -> None:
        """Wait until nothing of it runs."""
