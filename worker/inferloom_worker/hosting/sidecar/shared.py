"""What is known of a server, and under way there, for a model and its aliases."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.sidecar.client import GONE, Client
from inferloom_worker.engines.sidecar.facts import UNKNOWN, Facts
from inferloom_worker.engines.sidecar.failures import died, lost
from inferloom_worker.engines.sidecar.places import Places
from inferloom_worker.engines.sidecar.server_load import ServerLoad
from inferloom_worker.engines.sidecar.watch import NOT_ASKED, Watch
from inferloom_worker.hosting.refusals import not_now
from inferloom_worker.hosting.sidecar.answer import ServerAnswer
from inferloom_worker.hosting.sidecar.card import card as card_of
from inferloom_worker.hosting.sidecar.posts import Posts
from inferloom_worker.hosting.sidecar.ranking import ServerRanker, VectorRanker
from inferloom_worker.hosting.sidecar.vectors import ServerEmbedder

if TYPE_CHECKING:
    from inferloom_worker.hosting.sidecar.model import SidecarModel

BEAT_S = 1.0
"""How often it is said that requests live."""

SILENCE_S = 5.0
"""How long what is under way may have no news of a server that cannot be asked."""

NO_NEWS = "it cannot be asked, and nothing comes from it"

CLOSE_S = 5.0
"""How long closing its connections may take."""


class Shared:
    """What a model and its aliases have together: the server, places there, and what is under way."""

    def __init__(
        self,
        owner: "SidecarModel",
        client: Client,
        bound: QueueBound,
        most: int,
        context_length: int | None,
    ) -> None:
        self.owner = owner
        self.models = [owner]
        self.client = client
        self.places = Places(most, bound)
        self.answers: set[ServerAnswer] = set()
        self.generated = 0
        self.beats = 0
        self._most = most
        self._context_length = context_length
        self._posts = Posts(client, self.places, self.judged)
        self._watch: Watch | None = None
        self._changed: Callable[[], object] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beating: asyncio.Task[None] | None = None
        self._take(UNKNOWN)

    @property
    def away(self) -> str | None:
        return NOT_ASKED if self._watch is None else self._watch.away

    @property
    def load(self) -> ServerLoad:
        return ServerLoad() if self._watch is None else self._watch.load

    async def attend(self, changed: Callable[[], object]) -> None:
        """Find out what the server is, look after it from now on, and tell when it goes or comes.

        Raises:
            UnfitError: It is there, and cannot be served.
        """
        self._loop, self._changed = asyncio.get_running_loop(), changed
        self._watch = Watch(self.client, self.owner.card.id, self._news, self._unheard)
        await self._watch.begin()
        self._beating = asyncio.create_task(self._beat(), name="beats of a server's model")

    def ended(self, answer: ServerAnswer) -> None:
        """An answer is over."""
        if answer in self.answers:
            self.answers.discard(answer)
            self.generated += answer.tokens

    def close(self) -> None:
        """End its requests. Callable from any thread."""
        if self._loop is None or self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        with suppress(TimeoutError):
            closing.result(CLOSE_S)

    async def _close(self) -> None:
        self.places.fail(lost(GONE))
        self._posts.fail(lost(GONE))
        for answer in tuple(self.answers):
            answer.fail(lost(GONE))
        if self._beating is not None:
            self._beating.cancel()
        if self._watch is not None:
            await self._watch.close()
        await self.client.close()

    def _news(self) -> None:
        assert self._watch is not None
        if self._watch.away is None and self._watch.facts != self.facts:
            cards = [self._restated(model, self._watch.facts) for model in self.models]  # it may be refused
            self._take(self._watch.facts)
            for model, card in zip(self.models, cards, strict=True):
                model.card.CopyFrom(card)
        elif self._watch.away is not None:
            self.places.fail(not_now("The model's server went away."))
        self._changed()

    async def judged(self, error: InferloomError) -> InferloomError:
        """What a call to it ends with that failed: it may be away, or have lost its model, and is looked at.
        Whether a failure that it tells is one with the request, or its own end, the look says."""
        if self._watch is None:
            return error
        if error.reason in (Reason.WORKER_LOST, Reason.NO_WORKER):
            self._watch.look()
            return error
        if error.reason is not Reason.SERVER_ERROR:
            return error
        well = await self._watch.looked() and self.away is None
        return error if well else died(error)

    def _unheard(self) -> None:
        """Nothing comes from where it was. What hears nothing of it meanwhile will hear no more: of a machine
        that has vanished, connections do not end."""
        self._posts.fail(lost(NO_NEWS), SILENCE_S)
        for answer in tuple(self.answers):
            if answer.silent_s > SILENCE_S:
                answer.fail(lost(NO_NEWS))

    def _take(self, facts: Facts) -> None:
        self.facts = facts
        self.places.resize(self.client.address.slots or facts.slots or self._most)
        self.embedder = ServerEmbedder(self._posts, facts) if "embed" in facts.tasks else None
        self.ranker: ServerRanker | VectorRanker | None = None
        if "rerank" in facts.tasks:
            self.ranker = ServerRanker(self._posts, facts)
        elif self.embedder is not None:
            self.ranker = VectorRanker(self.embedder)

    def _restated(self, model: "SidecarModel", facts: Facts) -> pb.Model:
        """Another model, or another version, came back: the card tells."""
        new = card_of(model.card.id, facts, self._context_length)
        new.alias_of = model.card.alias_of
        new.created.GetCurrentTime()
        return new

    async def _beat(self) -> None:
        """Say once a second that its requests live: a server says nothing while it reads a prompt. One
        that is away is not spoken for, so that gateways find out."""
        while True:
            await asyncio.sleep(BEAT_S)
            if self.away is None:
                self.beats += 1
                for answer in tuple(self.answers):
                    answer.beat()
