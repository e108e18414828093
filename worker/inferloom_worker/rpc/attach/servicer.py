"""The link's gRPC door: one stream for each gateway process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from inferloom.v1 import link_pb2
from inferloom.v1.link_pb2_grpc import LinkServiceServicer
from inferloom_mesh.call_end import when_ended
from inferloom_mesh.call_observer import CallObserver, Observers
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.rpc.attach.attachment import Attachment
from inferloom_worker.rpc.incoming import Context
from inferloom_worker.rpc.inference import Inference

LOAD_S = 0.1
"""How often the load is told at most."""

BEATS = 10
"""Of these times, how many lie between two beats of an engine: a second."""


class LinkServicer(LinkServiceServicer):
    """Serves ``inferloom.v1.LinkService``.

    Args:
        inference: Answers the calls.
        host: The models, for their engines' beats.
        description: Knows the load.
        observers: Are told of each call, as those of the server are of its own calls.
    """

    def __init__(
        self,
        inference: Inference,
        host: ModelHost,
        description: SelfDescription,
        observers: Sequence[CallObserver] = (),
    ) -> None:
        self._inference = inference
        self._host = host
        self._description = description
        self._observers = Observers(observers)
        self._attachments: dict[Attachment, asyncio.Task[None]] = {}
        self._pulse: asyncio.Task[None] | None = None
        self._closed = False

    async def Attach(
        self, requests: AsyncIterator[link_pb2.AttachRequest], context: Context
    ) -> AsyncIterator[link_pb2.AttachResponse]:
        attachment = Attachment(self._inference, self._observers, context.peer() or "")
        self._attachments[attachment] = asyncio.create_task(attachment.read(requests))
        # A handler that is cancelled while a message is being sent is never resumed.
        when_ended(context, partial(self._left, attachment))
        if self._closed:
            attachment.close()
        attachment.pulse((), self._description.load())
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())
        async for frame in attachment.frames():
            yield frame

    def close(self) -> None:
        """End the streams, which would hold up the server's stop. What is ready is sent before."""
        self._closed = True
        for attachment in self._attachments:
            attachment.close()
        if self._pulse is not None:
            self._pulse.cancel()

    def _left(self, attachment: Attachment) -> None:
        if (reading := self._attachments.pop(attachment, None)) is not None:
            reading.cancel()
        attachment.lost()

    async def _beat(self) -> None:
        turn = 0
        while self._attachments:
            await asyncio.sleep(LOAD_S)
            turn += 1
            load = self._description.load()
            beats = self._beats() if turn % BEATS == 0 else ()
            for attachment in self._attachments:
                attachment.pulse(beats, load)

    def _beats(self) -> Sequence[link_pb2.EngineBeat]:
        beats = []
        for model in self._host.models:
            load = model.status().load
            if load.running or load.waiting:
                beats.append(link_pb2.EngineBeat(model=model.card.id, steps=model.steps))
        return beats
