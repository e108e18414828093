"""A loaded cross-encoder."""

from copy import copy
from pathlib import Path

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2, worker_pb2
from inferloom_worker.embed.pair_ranker import PairRanker
from inferloom_worker.engine.protocol import Adapter
from inferloom_worker.hosting.answer import Answer, Terms
from inferloom_worker.hosting.refusals import unsupported_task
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate.generate import CompletionRequest


class Reranker:
    """A :class:`~inferloom_worker.hosting.served.ServedModel` that scores documents and does nothing else."""

    generated_tokens = 0
    embedder = None
    _owner = True

    def __init__(self, card: pb.Model, ranker: PairRanker) -> None:
        self.card = card
        self.tokenizer = ranker.reader.tokenizer
        self.ranker = ranker
        self.health = ranker.health

    async def answer(self, asked: CompletionRequest, terms: Terms, texts: TextPool) -> Answer:
        raise unsupported_task(self.card.id, "generate text")

    def render(self, chat: pb.ChatInput) -> str:
        raise unsupported_task(self.card.id, "read conversations")

    def load_adapter(self, folder: Path) -> Adapter:
        raise unsupported_task(self.card.id, "take adapters")

    def variant(self, card: pb.Model, adapter: Adapter | None = None) -> "Reranker":
        other = copy(self)
        other.card = card
        other._owner = False
        return other

    def status(self) -> worker_pb2.ModelStatus:
        running, waiting = self.ranker.running, self.ranker.waiting
        return worker_pb2.ModelStatus(
            model=self.card,
            load=registry_pb2.Load(running=running, waiting=waiting),
            slots_in_use=running,
            slots=self.slots,
            weights_bytes=self.ranker.info.weights_bytes,
        )

    @property
    def longest_step_s(self) -> float:
        return self.ranker.longest_step.seconds

    @property
    def slots(self) -> int:
        return self.ranker.info.batch_size

    def close(self) -> None:
        if self._owner:
            self.ranker.close()
