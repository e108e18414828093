"""The link's gRPC door: one stream for each gateway process."""

import asyncio
from collections.abc import AsyncIterator

from inferloom.v1 import link_pb2
from inferloom.v1.link_pb2_grpc import LinkServiceServicer
from inferloom_mesh.call_end import when_ended
from inferloom_worker.rpc.attach.attachments import Attachments
from inferloom_worker.rpc.incoming import Context


class LinkServicer(LinkServiceServicer):
    """Serves ``inferloom.v1.LinkService``.

    Args:
        attachments: Those of the worker.
    """

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    async def Attach(
        self, requests: AsyncIterator[link_pb2.AttachRequest], context: Context
    ) -> AsyncIterator[link_pb2.AttachResponse]:
        attachment = self._attachments.attach(context.peer() or "")
        reading = asyncio.create_task(attachment.read(requests))

        def left() -> None:
            reading.cancel()
            self._attachments.left(attachment)

        # A handler that is cancelled while a message is being sent is never resumed.
        when_ended(context, left)
        async for frame in attachment.frames():
            yield frame
