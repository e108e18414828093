"""Whether a request may be made now: asked of each call before it goes to a worker."""

from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.link import UnaryRequest


class Admission(Protocol):
    """One request's right to be answered. What it used is settled by a listener, when its record ends."""

    async def admit(self, request: pb.GenerateRequest | pb.EmbedRequest | UnaryRequest) -> None:
        """Let a call be made, of which a request may make several.

        Raises:
            InferloomError: Its caller has had as much as he may have.
        """

    def give_back(self, request: pb.GenerateRequest | pb.EmbedRequest | UnaryRequest) -> None:
        """Let what was counted for a call that came to nothing be there for the next one."""
