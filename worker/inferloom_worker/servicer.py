"""The inference contract on a worker: validate, tokenise, submit, and pass events on."""

import asyncio
import time
import weakref
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceServicer
from inferloom_mesh.errors import invalid
from inferloom_worker.completion import Completion, duration
from inferloom_worker.embed.protocol import Embedded
from inferloom_worker.embed.vectors import finish, pack
from inferloom_worker.engine.protocol import Generation, GenerationRequest
from inferloom_worker.host import ModelHost, unsupported_task
from inferloom_worker.registration import Registration
from inferloom_worker.served import Generator, TokenizedPrompt
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate import checks
from inferloom_worker.validate.chat import check_chat
from inferloom_worker.validate.embed import EmbeddingRequest, read_embed
from inferloom_worker.validate.generate import (
    ChatPrompt,
    CompletionRequest,
    Prompt,
    TextPrompt,
    TokenPrompt,
    fit_max_tokens,
    read_generate,
)

SERVICE = "inferloom.v1.InferenceService"

_QUICK_CHARACTERS = 1024
"""Text that is tokenised on the event loop."""

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
        deadline = _engine_deadline(context)
        asked = await self._texts.run(
            "input",
            partial(read_generate, request, model.card.vocabulary_size),
            quick=request.ByteSize() <= _QUICK_REQUEST_BYTES,
        )
        with self._host.calls.run(request.model) as call:
            prompt = await self._texts.run(
                asked.prompt.param,
                partial(model.tokenize, asked.prompt),
                quick=_is_quick(asked.prompt),
                trial=model.trial if _is_short(asked.prompt) else None,
            )
            call.check()
            generation = model.engine.submit(_engine_request(asked, model, prompt, deadline))
            call.end = generation.abort
            # A handler that is cancelled while a message is being sent is never resumed. A context refers to
            # itself: what its callbacks hold, such as an adapter, stays until the garbage collector comes.
            abort: Any = partial(_abort, weakref.ref(generation))  # Any: the stub wants a class
            context.add_done_callback(abort)
            try:
                yield self._started(asked, model, prompt)
                for message in _echo(asked, model, prompt):
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
                model_revision=model.card.weights_hash,
                worker_id=self._registration.worker_id,
            )
        )

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        """See the contract."""
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
            quick = sum(len(item) for item in asked.inputs if isinstance(item, str)) <= _QUICK_CHARACTERS
            texts = await self._texts.run("inputs", tokenize, quick=quick)
            call.check()
            pending = asyncio.ensure_future(embedder.embed(texts))
            call.end = pending.cancel
            try:
                embedded = await pending
            except asyncio.CancelledError:
                call.check()
                raise

        def respond() -> pb.EmbedResponse:
            return _embed_response(asked, card, texts, embedded)

        return await self._texts.run("inputs", respond, quick=embedded.vectors.nbytes <= _QUICK_VECTORS_BYTES)

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


def _is_quick(prompt: Prompt) -> bool:
    """Whether it surely takes no time to tokenise; a template may take any."""
    if isinstance(prompt, TextPrompt):
        return len(prompt.text) <= _QUICK_CHARACTERS
    return isinstance(prompt, TokenPrompt)


def _is_short(prompt: Prompt) -> bool:
    """Whether it is a conversation that most templates render in no time."""
    return (
        isinstance(prompt, ChatPrompt)
        and prompt.chat.ByteSize() <= _QUICK_CHARACTERS
        and not prompt.chat.template.ByteSize()
    )


def _engine_request(
    asked: CompletionRequest, model: Generator, prompt: TokenizedPrompt, deadline: float | None
) -> GenerationRequest:
    ends = frozenset() if asked.stopping.ignore_eos else model.tokenizer.eos_ids
    max_tokens = fit_max_tokens(asked, len(prompt.ids), model.card.context_length)
    return GenerationRequest(
        request_id=asked.request_id,
        prompt=prompt.ids,
        max_tokens=max_tokens,
        sampling=asked.sampling,
        n=asked.n,
        min_tokens=asked.stopping.min_tokens,
        stop_token_ids=asked.stopping.token_ids | ends,
        top_logprobs=asked.top_logprobs,
        deadline=deadline,
        priority=asked.priority,
        cache_salt=asked.cache_salt,
        adapter=model.adapter,
    )


def _embed_response(
    asked: EmbeddingRequest, card: pb.Model, texts: list[list[int]], embedded: Embedded
) -> pb.EmbedResponse:
    vectors = finish(embedded.vectors, dimensions=asked.dimensions, normalize=asked.normalize)
    return pb.EmbedResponse(
        model=card.id,
        embeddings=[
            pb.Embedding(vector=vector, prompt_tokens=len(text))
            for vector, text in zip(pack(vectors), texts, strict=True)
        ],
        usage=pb.Usage(prompt_tokens=sum(map(len, texts))),
        timings=pb.Timings(
            queue=duration(embedded.queue_s), prefill=duration(embedded.compute_s), decode=duration(0)
        ),
        model_revision=card.weights_hash,
    )


def _echo(asked: CompletionRequest, model: Generator, prompt: TokenizedPrompt) -> list[pb.GenerateResponse]:
    """The prompt's text as each choice's first Delta, where it was asked for."""
    if not asked.echo:
        return []
    text = prompt.text
    if text is None:
        text = model.tokenizer.decode(prompt.ids, skip_special_tokens=False)
    return [pb.GenerateResponse(delta=pb.Delta(choice=i, text=text)) for i in range(asked.n)]


def _engine_deadline(context: Context) -> float | None:
    """When the engine is to end, so that what it has still reaches the caller in time."""
    left = context.time_remaining()
    if left is None:
        return None
    return time.monotonic() + left - min(0.25, left * 0.05)
