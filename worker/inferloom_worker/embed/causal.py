"""Vectors from a model that generates, computed by its own engine.

A text's vector is the state of its last token after the last layer and its norm: the one place that has seen
the whole text. Pooling as in E5-Mistral (Wang et al., "Improving Text Embeddings with Large Language Models",
2024) and Qwen3-Embedding. The weights are in memory once: texts are sequences of the engine like any other,
read in chunks beside whatever it generates.
"""

import asyncio
from collections.abc import Sequence

import numpy as np

from inferloom_mesh.errors import overloaded
from inferloom_worker.embed.options import EmbedderInfo, EmbedOptions
from inferloom_worker.embed.protocol import Embedded, Vectors
from inferloom_worker.embed.reader import Reader
from inferloom_worker.engine.protocol import Engine, GenerationRequest, GenerationStats, VectorEvent
from inferloom_worker.text.tokenizer import Tokenizer


class CausalEmbedder:
    """A :class:`~inferloom_worker.embed.protocol.TextEmbedder` on an engine that gives vectors.

    No more texts are in the engine at once than it runs sequences, so that they leave its queue to others.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, options: EmbedOptions) -> None:
        info = engine.info
        assert info.embedding_dimensions is not None
        self.info = EmbedderInfo(
            dimensions=info.embedding_dimensions,
            max_tokens=info.context_length,
            vocab_size=info.vocab_size,
            normalizes=True,
            shortens=False,
            dtype=info.dtype,
            engine=info.engine,
            instruction_set=info.instruction_set,
            weights_bytes=info.weights_bytes,
            batch_size=info.slots,
        )
        self.reader = Reader(tokenizer, info.context_length)
        self._engine = engine
        self._places = asyncio.Semaphore(info.slots)
        self._most_waiting = options.max_waiting
        self._unfinished = 0

    async def embed(self, texts: Sequence[list[int]]) -> Embedded:
        """See the protocol."""
        if self._unfinished and self._unfinished + len(texts) > self._most_waiting:
            raise overloaded(f"{self._unfinished} texts are waiting already.")
        self._unfinished += len(texts)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._embed(ids)) for ids in texts]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._unfinished -= len(texts)
        rows, stats = zip(*(task.result() for task in tasks), strict=True)
        return Embedded(np.stack(rows), max(s.queue_s for s in stats), max(s.prefill_s for s in stats))

    async def _embed(self, ids: list[int]) -> tuple[Vectors, GenerationStats]:
        async with self._places:
            reading = self._engine.submit(
                GenerationRequest(request_id="", prompt=ids, max_tokens=1, embeds=True)
            )
            try:
                vectors = [
                    event.vector
                    async for batch in reading.events()
                    for event in batch
                    if isinstance(event, VectorEvent)
                ]
            finally:
                reading.abort()
        return vectors[0], reading.stats
