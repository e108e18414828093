"""The inference contract on a worker: validate, tokenise, submit, and pass events on."""

import weakref
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceServicer
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import invalid
from inferloom_worker.embed.response import embed_part, parts
from inferloom_worker.embed.vector_stream import VectorStream
from inferloom_worker.engine.nothing import submit
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.hosting.host import ModelHost, unsupported_task
from inferloom_worker.hosting.served import Generator, TokenizedPrompt
from inferloom_worker.joining.self_description import Registration
from inferloom_worker.output.completion import Completion
from inferloom_worker.rpc.engine_request import (
    QUICK_CHARACTERS,
    drawn_with,
    echo,
    engine_deadline,
    engine_request,
    is_quick,
    is_short,
)
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate import checks
from inferloom_worker.validate.chat import check_chat
from inferloom_worker.validate.embed import read_embed
from inferloom_worker.validate.generate import CompletionRequest, read_generate

SERVICE = "inferloom.v1.InferenceService"

_QUICK_REQUEST_BYTES = 16 * 1024
"""A request that is checked on the event loop."""

_QUICK_VECTORS_BYTES = 64 * 1024
"""Vectors that are scaled and packed on the event loop."""

Context = grpc.aio.ServicerContext[Any, Any]


class InferenceServicer(InferenceServiceServicer):
    """Serves the models of one host."""

    def __init__(self, host: ModelHost, texts: TextPool, registration: Registration) -> None:
        self._host = host
        self._texts = texts
        self._registration = registration

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """See the contract. Leaving, for whatever reason, frees the generation."""
        model = self._host.generator(request.model)
        deadline = engine_deadline(context)
        asked = await self._texts.run(
            "input",
            partial(read_generate, request, model.card.vocabulary_size, model.card.sampling_defaults),
            quick=request.ByteSize() <= _QUICK_REQUEST_BYTES,
        )
        with self._host.calls.run(request.model) as call:
            prompt = await self._texts.run(
                asked.prompt.param,
                partial(model.tokenize, asked.prompt),
                quick=is_quick(asked.prompt),
                trial=model.trial if is_short(asked.prompt) else None,
            )
            call.check()
            generation = submit(model.engine, engine_request(asked, model, prompt, deadline))
            call.end = generation.abort
            # A handler that is cancelled while a message is being sent is never resumed. A context refers to
            # itself: what its callbacks hold, such as an adapter, stays until the garbage collector comes.
            abort: Any = partial(_abort, weakref.ref(generation))  # Any: the stub wants a class
            context.add_done_callback(abort)
            try:
                yield self._started(asked, model, prompt)
                for message in echo(asked, model, prompt):
                    yield message
                completion = Completion(generation, model.tokenizer, asked.stopping, len(prompt.ids), asked.n)
                async for batch in generation.events():
                    for message in completion.take(batch):
                        yield message
                call.check()
                yield completion.completed()
            finally:
                generation.abort()

    def _started(
        self, asked: CompletionRequest, model: Generator, prompt: TokenizedPrompt
    ) -> pb.GenerateResponse:
        return pb.GenerateResponse(
            started=pb.Started(
                request_id=asked.request_id,
                model=model.card.id,
                prompt_tokens=len(prompt.ids),
                seed=asked.sampling.seed,
                compute_hash=model.card.compute_hash,
                worker_id=self._registration.worker_id,
                sampling=drawn_with(asked.sampling),
            )
        )

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> AsyncIterator[pb.EmbedResponse]:
        """See the contract. Leaving, for whatever reason, takes back what is not computed."""
        card, embedder = self._host.served(request.model).card, self._host.embedder(request.model)
        info = embedder.info
        asked = read_embed(
            request,
            vocab_size=info.vocab_size,
            dimensions=info.dimensions,
            shortens=info.shortens,
            normalizes=info.normalizes,
        )

        def tokenize() -> list[list[int]]:
            return [
                embedder.reader.read(f"inputs[{i}]", item, truncate=asked.truncate)
                for i, item in enumerate(asked.inputs)
            ]

        with self._host.calls.run(request.model) as call:
            quick = sum(len(item) for item in asked.inputs if isinstance(item, str)) <= QUICK_CHARACTERS
            texts = await self._texts.run("inputs", tokenize, quick=quick)
            call.check()
            stream = embedder.embed(texts)
            call.end = stream.close
            context.add_done_callback(lambda _: stream.close())  # type: ignore[arg-type] # the stub wants a class
            tokens = sum(map(len, texts))
            try:
                yield self._embed_started(asked.request_id, card, tokens)
                async for first, vectors in stream:
                    for run in parts(vectors, asked):
                        work = partial(embed_part, asked, texts, first + run.start, vectors[run])
                        quick = vectors[run].nbytes <= _QUICK_VECTORS_BYTES
                        yield await self._texts.run("inputs", work, quick=quick)
                call.check()
                yield _embed_completed(tokens, stream)
            finally:
                stream.close()

    def _embed_started(self, request_id: str, card: pb.Model, tokens: int) -> pb.EmbedResponse:
        return pb.EmbedResponse(
            started=pb.EmbedStarted(
                request_id=request_id,
                model=card.id,
                prompt_tokens=tokens,
                compute_hash=card.compute_hash,
                worker_id=self._registration.worker_id,
            )
        )

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Refused: no model here ranks."""
        self._host.served(request.model)
        raise unsupported_task(request.model, "rank documents")

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        """See the contract."""
        model = self._host.served(request.model)
        special = request.add_special_tokens if request.HasField("add_special_tokens") else True
        kind = request.WhichOneof("input")
        if kind is None:
            raise invalid("input", "One of text and chat is required.")
        if kind == "chat":
            if not isinstance(model, Generator):
                raise unsupported_task(request.model, "read conversations")
            check_chat(request.chat)

        def tokenize() -> pb.TokenizeResponse:
            if kind == "chat" and isinstance(model, Generator):
                ids = model.tokenizer.encode(model.render(request.chat), add_special_tokens=False)
            else:
                ids = model.tokenizer.encode(request.text, add_special_tokens=special)
            tokens = [model.tokenizer.token_text(token) for token in ids]
            return pb.TokenizeResponse(token_ids=ids, tokens=tokens, context_length=model.card.context_length)

        return await self._texts.run("chat.messages" if kind == "chat" else "text", tokenize)

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> pb.DetokenizeResponse:
        """See the contract."""
        model = self._host.served(request.model)
        ids = list(request.token_ids)
        if ids:
            checks.token_ids("token_ids", ids, model.card.vocabulary_size)
        decode = partial(model.tokenizer.decode, ids, skip_special_tokens=request.skip_special_tokens)
        return pb.DetokenizeResponse(text=await self._texts.run("token_ids", decode))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """See the contract."""
        return pb.ListModelsResponse(models=self._host.cards)


def _abort(generation: weakref.ref[Generation], context: Context) -> None:
    if (running := generation()) is not None:
        running.abort()


def _embed_completed(tokens: int, stream: VectorStream) -> pb.EmbedResponse:
    times = pb.Timings(queue=duration(stream.queue_s), prefill=duration(stream.compute_s), decode=duration(0))
    return pb.EmbedResponse(completed=pb.EmbedCompleted(usage=pb.Usage(prompt_tokens=tokens), timings=times))
