"""Vectors from a model that generates, computed by its own engine.

A text's vector is the state of its last token after the last layer and its norm: the one place that has seen
the whole text. Pooling as in E5-Mistral (Wang et al., "Improving Text Embeddings with Large Language Models",
2024) and Qwen3-Embedding. The weights are in memory once: texts are sequences of the engine like any other,
read in chunks beside whatever it generates.
"""

import asyncio
import logging
from collections.abc import Sequence

from inferloom_mesh.errors import InferloomError, Reason, overloaded, server_error
from inferloom_worker.embed.options import NOBODY, Caller, EmbedderInfo, EmbedOptions
from inferloom_worker.embed.reader import Reader
from inferloom_worker.embed.vector_stream import VectorStream
from inferloom_worker.engine.events import VectorEvent
from inferloom_worker.engine.protocol import Engine
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class CausalEmbedder:
    """A :class:`~inferloom_worker.embed.protocol.TextEmbedder` on an engine that gives vectors.

    No more texts are in the engine at once than it runs sequences, so that they leave its queue to others.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, options: EmbedOptions, *, normalizes: bool = True
    ) -> None:
        info = engine.info
        assert info.embedding_dimensions is not None
        self.info = EmbedderInfo(
            dimensions=info.embedding_dimensions,
            max_tokens=info.context_length,
            vocab_size=info.vocab_size,
            normalizes=normalizes,
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

    def embed(self, texts: Sequence[list[int]], caller: Caller = NOBODY) -> VectorStream:
        if self._unfinished and self._unfinished + len(texts) > self._most_waiting:
            raise overloaded(f"{self._unfinished} texts are waiting already.")
        self._unfinished += len(texts)
        stream = VectorStream(len(texts), on_close=lambda: reading.cancel())
        reading = asyncio.create_task(self._read(stream, texts, caller))
        # Not at its own end: one that is cancelled before it ran never comes there.
        reading.add_done_callback(lambda _: self._left(len(texts)))
        return stream

    def _left(self, count: int) -> None:
        self._unfinished -= count

    async def _read(self, stream: VectorStream, texts: Sequence[list[int]], caller: Caller) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index, ids in enumerate(texts):
                    group.create_task(self._embed(stream, index, ids, caller))
        except BaseExceptionGroup as failures:
            first = failures.exceptions[0]
            if not isinstance(first, InferloomError):
                log.error("texts could not be embedded", exc_info=first)
                first = server_error()
            stream.fail(first)

    async def _embed(self, stream: VectorStream, index: int, ids: list[int], caller: Caller) -> None:
        async with self._places:
            reading = self._engine.submit(
                GenerationRequest(
                    request_id="",
                    prompt=ids,
                    max_tokens=1,
                    tenant=caller.tenant,
                    share=caller.share,
                    cache_salt=f"{caller.cache_scope}\0" if caller.cache_scope else "",
                    embeds=True,
                )
            )
            try:
                async for batch in reading.events():
                    for event in batch:
                        if isinstance(event, VectorEvent):
                            stream.put(index, event.vector)
            except InferloomError as failure:
                if failure.reason is not Reason.SERVER_ERROR:
                    raise
                where = f"inputs[{index}]"
                message = f"{where} could not be embedded."
                raise InferloomError(Reason.SERVER_ERROR, message, param=where) from failure
            finally:
                reading.abort()
            stream.queue_s = max(stream.queue_s, reading.stats.queue_s)
            stream.compute_s = max(stream.compute_s, reading.stats.prefill_s)
