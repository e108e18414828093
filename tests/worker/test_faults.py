"""What breaks on a thread of its own: nobody waits for it for ever, and it says so."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.options import EmbedderInfo, EmbedOptions
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.stepping.batch import StepBatch
from tests.patience import PATIENCE_S
from tests.worker.fake_model import FakeModel


class ZeroModel(FakeModel):
    """A model that takes nothing for likelier than anything else."""

    vocab_size = 64
    suspect = False

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Zeros."""
        return torch.zeros(len(batch.sample_rows), self.vocab_size)


def asked() -> GenerationRequest:
    """A request for a few tokens."""
    return GenerationRequest(request_id="r", prompt=[1, 2], max_tokens=3)


async def ending(engine: TorchEngine) -> Reason | None:
    """How a request ends; None: well."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for _ in engine.submit(asked()).events():
                pass
    except InferloomError as failure:
        return failure.reason
    return None


@pytest.mark.parametrize("part", ["schedule", "advance", "remove"])
async def test_an_engine_whose_bookkeeping_fails_fails_its_requests(part: str) -> None:
    """The one that met it, those that wait beside it, and every later one, each at once."""
    engine = TorchEngine(ZeroModel(), EngineOptions(max_running=1), 64)  # type: ignore[arg-type]
    assert await ending(engine) is None

    def fails(*args: Any) -> None:
        raise RuntimeError("a bug in bookkeeping")

    setattr(engine._scheduler, part, fails)
    endings = await asyncio.gather(*(ending(engine) for _ in range(3)))
    assert endings == [Reason.WORKER_LOST] * 3

    assert await ending(engine) is Reason.WORKER_LOST
    engine.close()


async def test_a_broken_engine_says_so() -> None:
    """To who looks, to who watched before, and to who watches afterwards; and what it was."""
    engine = TorchEngine(ZeroModel(), EngineOptions(), 64)  # type: ignore[arg-type]
    assert engine.health.fault is None
    heard: list[object] = []
    engine.health.watch(heard.append)
    engine._scheduler.schedule = None  # type: ignore[assignment,method-assign]
    await ending(engine)
    engine.health.watch(heard.append)

    assert engine.health.fault is not None
    assert heard == [engine.health.fault] * 2
    assert not engine.health.fault.memory_suspect
    assert "TypeError" in str(engine.health.fault)


class Words:
    """An encoder of texts with one token, which is their vector."""

    info = EmbedderInfo(
        dimensions=1,
        max_tokens=8,
        vocab_size=9,
        normalizes=False,
        shortens=False,
        dtype="float32",
        weights_bytes=0,
        batch_size=2,
    )
    reader: Any = None
    rows = 0
    """How many too many it gives."""

    def encode(self, texts: list[list[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """One row per text, or more."""
        return np.array([*texts, *[[0.0]] * self.rows], np.float32)


async def vectors(embedder: Embedder, texts: Sequence[list[int]]) -> list[float] | Reason:
    """The vectors, or why there are none."""
    got: list[float] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for _, rows in embedder.embed(texts):
                got += rows[:, 0].tolist()
    except InferloomError as failure:
        return failure.reason
    return got


async def test_an_embedder_that_breaks_fails_its_requests() -> None:
    """Whatever its thread meets outside the model: those that wait and those that come."""
    model = Words()
    embedder = Embedder(model, EmbedOptions(batch_size=2))
    assert await vectors(embedder, [[3], [4]]) == [3.0, 4.0]
    model.rows = 1

    answers = await asyncio.gather(*(vectors(embedder, [[n], [n]]) for n in range(3)))
    assert answers == [Reason.WORKER_LOST] * 3
    assert await vectors(embedder, [[5]]) is Reason.WORKER_LOST
    assert embedder.health.fault is not None
    embedder.close()
