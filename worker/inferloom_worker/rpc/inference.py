"""What the inference contract means on a worker: count, check, tokenise, submit, and pass events on.

Every door into the worker calls this, whatever its wire: requests go in as messages with an IncomingCall
(tenant, deadline, what to do at the end), and responses come out; of what is raised, the interceptor's
``told`` makes the caller's error. The order is always the same. What a request holds is counted before
anything is made of it; then it is checked and tokenised, on a thread unless it is small, and counts as
running from the start.
"""

import weakref
from collections.abc import AsyncIterator
from functools import partial

import numpy as np

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import InferloomError, invalid
from inferloom_worker.embed.ranker import Reading, best
from inferloom_worker.embed.response import embed_part, parts
from inferloom_worker.embed.vector_stream import VectorStream
from inferloom_worker.hosting.answer import Answer, Terms
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.rpc.generating import Generating
from inferloom_worker.rpc.incoming import IncomingCall
from inferloom_worker.rpc.tokens import describe, detokenize, tokenize
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate import bounds
from inferloom_worker.validate.chat import check_chat
from inferloom_worker.validate.embed import EmbeddingRequest, read_embed
from inferloom_worker.validate.generate import read_generate
from inferloom_worker.validate.rerank import RankingRequest, read_rerank

QUICK_REQUEST_BYTES = 16 * 1024
"""A request that is checked on the event loop."""

QUICK_EMBED_BYTES = 1024
"""One that is tokenised there too."""

QUICK_VECTORS_BYTES = 64 * 1024
"""Vectors that are scaled and packed on the event loop."""


class Inference:
    """Serves the models of one host.

    Args:
        host: The models.
        texts: Threads for work on text.
        description: Knows the worker's name.
        max_priority: Highest priority that a request gets, whatever it asks for.
    """

    def __init__(
        self, host: ModelHost, texts: TextPool, description: SelfDescription, *, max_priority: int = 0
    ) -> None:
        self._host = host
        self._texts = texts
        self._description = description
        self._max_priority = max_priority

    async def generate(
        self, request: pb.GenerateRequest, incoming: IncomingCall
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Leaving, for whatever reason, frees the generation."""
        generating = await self.begin(request, incoming)
        try:
            generating.check()
            async for batch in generating.answer.events():
                for event in batch:
                    yield generating.named(event)
            generating.check()
        finally:
            generating.close()

    async def begin(self, request: pb.GenerateRequest, incoming: IncomingCall) -> Generating:
        """Take a Generate call, which counts as running from now on, until what this returns is closed."""
        deadline = incoming.engine_deadline()
        model = self._host.generating(request.model)
        calls = self._host.calls
        call = calls.enter(model)
        try:
            bounds.check_generate(request, model.card.context_length or bounds.MAX_UNKNOWN_CONTEXT)
            asked = await self._texts.run(
                "input",
                partial(
                    read_generate,
                    request,
                    model.card.vocabulary_size or bounds.MAX_TOKEN_IDS,
                    model.card.sampling_defaults,
                    max_priority=incoming.priority_limit(self._max_priority),
                    honoured=model.card.supported_parameters,
                ),
                tenant=incoming.context.tenant,
                quick=request.ByteSize() <= QUICK_REQUEST_BYTES,
            )
            call.check()
            answer = await model.answer(
                asked,
                Terms(
                    deadline=deadline,
                    tenant=incoming.context.tenant,
                    share=incoming.context.share,
                    cache_scope=incoming.context.cache_scope,
                    tell_prompt=incoming.context.tell_prompt,
                ),
                self._texts,
            )
        except Exception:
            calls.leave(call)
            call.check()  # where it was ended, what it fails with comes of that: its model is closed
            raise
        except BaseException:
            calls.leave(call)
            raise
        call.end = answer.abort
        # A handler that is cancelled while a message is being sent is never resumed. A context refers to
        # itself: what its callbacks hold, such as an adapter, stays until the garbage collector comes.
        incoming.on_end(partial(_abort, weakref.ref(answer)))
        return Generating(answer, call, calls, self._description.worker_id)

    async def embed(
        self, request: pb.EmbedRequest, incoming: IncomingCall
    ) -> AsyncIterator[pb.EmbedResponse]:
        """Leaving, for whatever reason, takes back what is not computed."""
        embedder = self._host.embedder(request.model)
        model = self._host.served(request.model)
        info = embedder.info
        with self._host.calls.run(model) as call:
            bounds.check_embed(request, info.max_tokens)

            def read() -> tuple[EmbeddingRequest, list[list[int]]]:
                asked = read_embed(
                    request,
                    vocab_size=info.vocab_size,
                    dimensions=info.dimensions,
                    shortens=info.shortens,
                    normalizes=info.normalizes,
                )
                return asked, [
                    embedder.reader.read(f"inputs[{i}]", item, truncate=asked.truncate)
                    for i, item in enumerate(asked.inputs)
                ]

            asked, texts = await self._texts.run(
                "inputs",
                read,
                tenant=incoming.context.tenant,
                quick=request.ByteSize() <= QUICK_EMBED_BYTES,
            )
            call.check()
            stream = embedder.embed(texts, incoming.for_whom())
            call.end = stream.close
            incoming.on_end(stream.close)
            tokens = sum(map(len, texts))
            started = pb.EmbedStarted(
                request_id=asked.request_id,
                model=model.card.id,
                prompt_tokens=tokens,
                compute_hash=model.card.compute_hash,
                worker_id=self._description.worker_id,
            )
            try:
                yield pb.EmbedResponse(started=started)
                async for first, vectors in stream:
                    for run in parts(vectors, asked):
                        work = partial(embed_part, asked, texts, first + run.start, vectors[run])
                        quick = vectors[run].nbytes <= QUICK_VECTORS_BYTES
                        yield await self._texts.run(
                            "inputs", work, tenant=incoming.context.tenant, quick=quick
                        )
                call.check()
                yield _embed_completed(tokens if stream.read_tokens is None else stream.read_tokens, stream)
            finally:
                stream.close()

    async def rerank(self, request: pb.RerankRequest, incoming: IncomingCall) -> pb.RerankResponse:
        """Leaving, for whatever reason, takes back what is not computed."""
        ranker = self._host.ranker(request.model)
        model = self._host.served(request.model)
        with self._host.calls.run(model) as call:
            bounds.check_rerank(request)

            def read() -> tuple[RankingRequest, Reading]:
                asked = read_rerank(request)
                return asked, ranker.read(asked)

            asked, reading = await self._texts.run("documents", read, tenant=incoming.context.tenant)
            call.check()
            stream = reading.start(incoming.for_whom())
            call.end = stream.close
            incoming.on_end(stream.close)
            try:
                rows = [part async for _, part in stream]
            except InferloomError as failure:
                raise reading.restated(failure) from failure
            finally:
                stream.close()
            call.check()
        scores = reading.scores(np.concatenate(rows))
        ranked = [pb.RankedDocument(index=one.index, score=one.score) for one in best(scores, asked.top_n)]
        return pb.RerankResponse(
            model=model.card.id,
            results=ranked,
            usage=pb.Usage(prompt_tokens=reading.tokens),
            request_id=asked.request_id,
            compute_hash=model.card.compute_hash,
            worker_id=self._description.worker_id,
            timings=_times(stream),
        )

    async def tokenize(self, request: pb.TokenizeRequest, incoming: IncomingCall) -> pb.TokenizeResponse:
        model = self._host.served(request.model)
        kind = request.WhichOneof("input")
        if kind is None:
            raise invalid("input", "One of text and chat is required.")
        with self._host.calls.run(model):
            bounds.check_chat_counts(request.chat)
            if model.remote_texts is not None:
                if kind == "chat":
                    check_chat(request.chat)
                return await model.remote_texts.tokenize(request)
            param = "chat.messages" if kind == "chat" else "text"
            work = partial(tokenize, request, model)
            return await self._texts.run(param, work, tenant=incoming.context.tenant)

    async def detokenize(
        self, request: pb.DetokenizeRequest, incoming: IncomingCall
    ) -> pb.DetokenizeResponse:
        model = self._host.served(request.model)
        with self._host.calls.run(model):
            bounds.check_detokenize(request, model.card.context_length)
            if model.remote_texts is not None:
                return await model.remote_texts.detokenize(request)
            work = partial(detokenize, request, model)
            return await self._texts.run("token_ids", work, tenant=incoming.context.tenant)

    async def get_tokenizer(
        self, request: pb.GetTokenizerRequest, incoming: IncomingCall
    ) -> pb.GetTokenizerResponse:
        model = self._host.served(request.model)
        with self._host.calls.run(model):
            if model.remote_texts is not None:
                return model.remote_texts.describe()
            work = partial(describe, model)
            return await self._texts.run("model", work, tenant=incoming.context.tenant)

    async def list_models(
        self, request: pb.ListModelsRequest, incoming: IncomingCall
    ) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=self._host.cards)


def _abort(answer: weakref.ref[Answer]) -> None:
    if (running := answer()) is not None:
        running.abort()


def _embed_completed(tokens: int, stream: VectorStream) -> pb.EmbedResponse:
    usage = pb.Usage(prompt_tokens=tokens)
    return pb.EmbedResponse(completed=pb.EmbedCompleted(usage=usage, timings=_times(stream)))


def _times(stream: VectorStream) -> pb.Timings:
    return pb.Timings(queue=duration(stream.queue_s), prefill=duration(stream.compute_s), decode=duration(0))
