"""What is known of a server, and under way there, for a model and its aliases."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.sidecar.client import GONE, Client
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.failures import lost
from inferloom_worker.engines.sidecar.places import Places
from inferloom_worker.engines.sidecar.watch import ServerLoad, Watch
from inferloom_worker.hosting.refusals import not_now
from inferloom_worker.hosting.sidecar.answer import ServerAnswer
from inferloom_worker.hosting.sidecar.card import card as card_of
from inferloom_worker.hosting.sidecar.vectors import ServerEmbedder, ServerRanker

if TYPE_CHECKING:
    from inferloom_worker.hosting.sidecar.model import SidecarModel

BEAT_S = 1.0
"""How often it is said that requests live."""

CLOSE_S = 5.0
"""How long closing its connections may take."""


class Shared:
    """What a model and its aliases have together: the server, places there, and what is under way."""

    def __init__(
        self,
        owner: "SidecarModel",
        facts: Facts,
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
        self._watch: Watch | None = None
        self._changed: Callable[[], object] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beating: asyncio.Task[None] | None = None
        self._take(facts)

    @property
    def away(self) -> str | None:
        return None if self._watch is None else self._watch.away

    @property
    def load(self) -> ServerLoad:
        return ServerLoad() if self._watch is None else self._watch.load

    def attend(self, changed: Callable[[], object]) -> None:
        """Look after the server from now on, and tell when it goes or comes."""
        self._loop, self._changed = asyncio.get_running_loop(), changed
        self._watch = Watch(self.client, self.facts, self._news)
        self._beating = asyncio.create_task(self._beat(), name="beats of a server's model")

    def ended(self, answer: ServerAnswer) -> None:
        """An answer is over."""
        if answer in self.answers:
            self.answers.discard(answer)
            self.generated += answer.tokens
            if answer.lost and self._watch is not None:
                self._watch.look()

    def close(self) -> None:
        """End its requests. Callable from any thread."""
        if self._loop is None or self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        with suppress(TimeoutError):
            closing.result(CLOSE_S)

    async def _close(self) -> None:
        self.places.fail(lost(GONE))
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

    def _take(self, facts: Facts) -> None:
        self.facts = facts
        self.places.resize(self.client.address.slots or facts.slots or self._most)
        self.embedder = ServerEmbedder(self.client, facts, self.places) if "embed" in facts.tasks else None
        self.ranker = ServerRanker(self.client, facts, self.places) if "rerank" in facts.tasks else None

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
