"""An engine that breaks when it is asked to: the torch engine, around a model that counts."""

import torch

from inferloom_worker.engine.health import MemorySuspectError
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.registry import EngineKind
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.sourcing.sources import ModelSource
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.work import Work
from tests.worker.fake_model import FakeModel

BUG, CRASH, FAIL = (ord(letter) for letter in "BCF")
"""Prompts that end with these break the bookkeeping, the memory, and a single step. (Tokens are bytes.)"""


class CountingModel(FakeModel):
    """A model whose next token is its last token plus one."""

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Count, or fail as asked."""
        last = batch.token_tensor[batch.sample_tensor]
        if CRASH in last:
            raise MemorySuspectError("a canary is dead")
        if FAIL in last:
            raise RuntimeError("out of memory")
        return torch.nn.functional.one_hot(last + 1, self.vocab_size).float()


def faulty_engine() -> TorchEngine:
    """An engine whose scheduler fails on the byte of :data:`BUG`."""
    engine = TorchEngine(CountingModel(), EngineOptions(), 64)  # type: ignore[arg-type]
    advance = engine._scheduler.advance

    def breaking(step: list[Work], yielded: list[list[int]]) -> None:
        if any(work.sequence.tokens[-1] == BUG for work in step):
            raise RuntimeError("a bug in bookkeeping")
        advance(step, yielded)

    engine._scheduler.advance = breaking  # type: ignore[method-assign]
    return engine


def _start(source: ModelSource, options: EngineOptions, vocab_size: int) -> TorchEngine:
    return faulty_engine()


KIND = EngineKind(_start, reads_files=False)
