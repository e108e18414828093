"""Loaded models that read texts and generate none: encoders and cross-encoders."""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Self

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2, worker_pb2
from inferloom_worker.embed.cosine import CosineRanker
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.pair_ranker import PairRanker
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.hosting.answer import Answer, Terms
from inferloom_worker.hosting.refusals import unsupported_task
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate.generate import CompletionRequest


class _Reader:
    """What they share: all that is asked of a :class:`~inferloom_worker.hosting.served.ServedModel` but what
    they give."""

    generated_tokens = 0
    remote_texts = None
    away = None
    _owner = True

    def __init__(self, card: pb.Model, batches: Embedder | PairRanker) -> None:
        self.card = card
        self.tokenizer = batches.reader.tokenizer
        self.health = batches.health
        self._batches = batches

    async def answer(self, asked: CompletionRequest, terms: Terms, texts: TextPool) -> Answer:
        raise unsupported_task(self.card.id, "generate text")

    def render(self, chat: pb.ChatInput) -> str:
        raise unsupported_task(self.card.id, "read conversations")

    async def attend(self, changed: Callable[[], object]) -> None:
        """What is in this process does not go away."""

    def load_adapter(self, folder: Path) -> Adapter:
        raise unsupported_task(self.card.id, "take adapters")

    def variant(self, card: pb.Model, adapter: Adapter | None = None) -> Self:
        other = copy(self)
        other.card = card
        other._owner = False
        return other

    def status(self) -> worker_pb2.ModelStatus:
        running, waiting = self._batches.running, self._batches.waiting
        return worker_pb2.ModelStatus(
            model=self.card,
            load=registry_pb2.Load(running=running, waiting=waiting),
            slots_in_use=running,
            slots=self.slots,
            weights_bytes=self._batches.info.weights_bytes,
        )

    @property
    def longest_step_s(self) -> float:
        return self._batches.longest_step.seconds

    @property
    def steps(self) -> int:
        return self._batches.steps

    @property
    def slots(self) -> int:
        return self._batches.info.batch_size

    def close(self) -> None:
        if self._owner:
            self._batches.close()


class Encoder(_Reader):
    """A model that gives vectors."""

    def __init__(self, card: pb.Model, embedder: Embedder) -> None:
        super().__init__(card, embedder)
        self.embedder = embedder
        self.ranker = CosineRanker(embedder)


class Reranker(_Reader):
    """A cross-encoder: it scores documents."""

    embedder = None

    def __init__(self, card: pb.Model, ranker: PairRanker) -> None:
        super().__init__(card, ranker)
        self.ranker = ranker
