"""All gateway processes that are attached to this worker, however they came."""

import asyncio
from collections.abc import Callable, Sequence

from inferloom.v1 import link_pb2
from inferloom_mesh.call_observer import CallObserver, Observers
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.rpc.attach.attachment import Attachment
from inferloom_worker.rpc.inference import Inference

LOAD_S = 0.1
"""How often the load is told at most."""

BEATS = 10
"""Of these times, how many lie between two beats: a second."""


class Attachments:
    """Makes attachments, and has them tell which engines and calls live and what the load is.

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
        self._open: set[Attachment] = set()
        self._pulse: asyncio.Task[None] | None = None
        self._closed = False

    def attach(self, peer: str, on_news: Callable[[], object] | None = None) -> Attachment:
        """An attachment for ``peer``, which is told the load at once."""
        attachment = Attachment(self._inference, self._observers, peer, on_news)
        self._open.add(attachment)
        if self._closed:
            attachment.close()
        attachment.tell(self._description.load())
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())
        return attachment

    def left(self, attachment: Attachment) -> None:
        """Its stream has ended: so do its calls."""
        self._open.discard(attachment)
        attachment.lost()

    def close(self) -> None:
        """End the streams, which would hold up the worker's stop. What is ready is sent before."""
        self._closed = True
        for attachment in self._open:
            attachment.close()
        if self._pulse is not None:
            self._pulse.cancel()

    async def _beat(self) -> None:
        turn = 0
        while self._open:
            await asyncio.sleep(LOAD_S)
            turn += 1
            load = self._description.load()
            for attachment in tuple(self._open):
                attachment.tell(load)
            if turn % BEATS == 0:
                beats = self._beats()
                for attachment in tuple(self._open):
                    attachment.beat(beats)

    def _beats(self) -> Sequence[link_pb2.EngineBeat]:
        beats = []
        for model in self._host.models:
            load = model.status().load
            if load.running or load.waiting:
                beats.append(link_pb2.EngineBeat(model=model.card.id, steps=model.steps))
        return beats
