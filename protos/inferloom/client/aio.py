"""The client for programs with an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar, Unpack

import grpc

from inferloom.client import requests
from inferloom.client.answer import Answer
from inferloom.client.course import RESUMABLE, STREAM, Course
from inferloom.client.errors import InferloomError, read
from inferloom.client.settings import CHANNEL_OPTIONS
from inferloom.client.targets import workers
from inferloom.client.told import Told
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.registry_pb2 import ListWorkersRequest
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub

T = TypeVar("T")

_REGISTRY_S = 5.0
"""What a registry gets to answer, before the next one is asked."""


class AsyncStream:
    """An answer while it comes: iterate over its text, or over :meth:`events`.

    Leaving the ``async with`` block, or cancelling, ends the generation.
    """

    def __init__(self, events: AsyncIterator[pb.GenerateResponse]) -> None:
        self._events: Any = events
        self.answer = Answer()
        """All that has come."""

    async def events(self) -> AsyncIterator[pb.GenerateResponse]:
        """The contract's events, to the end.

        Raises:
            InferloomError: The request failed.
        """
        async for event in self._events:
            self.answer.add(event)
            yield event

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self._events:
            if text := self.answer.add(event):
                yield text

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._events.aclose()


class AsyncClient(Told[grpc.aio.Channel]):
    """Calls a mesh over gRPC. What it is told is in :class:`~inferloom.client.told.Told`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close()

    async def models(self) -> list[pb.Model]:
        """The models that can be called."""
        if self._settings.registries:
            listed = await self._tried(self._registry)
            cards = {card.id: card for row in listed.workers for card in row.worker.models}
            return [cards[name] for name in sorted(cards)]
        return list((await self._call("", lambda stub: stub.ListModels, pb.ListModelsRequest())).models)

    async def chat(
        self,
        model: str,
        messages: str | Sequence[requests.Message],
        *,
        tools: Sequence[pb.Tool] = (),
        **options: Unpack[requests.Options],
    ) -> Answer:
        """The whole answer to a conversation.

        Raises:
            InferloomError: The request failed.
        """
        return await self._whole(requests.chat(model, messages, tools, options))

    def stream_chat(
        self,
        model: str,
        messages: str | Sequence[requests.Message],
        *,
        tools: Sequence[pb.Tool] = (),
        resumable_s: int | None = None,
        **options: Unpack[requests.Options],
    ) -> AsyncStream:
        """The answer to a conversation, as it comes; see :meth:`generate`."""
        return AsyncStream(self.generate(requests.chat(model, messages, tools, options), resumable_s))

    async def complete(
        self, model: str, prompt: str | Sequence[int], **options: Unpack[requests.Options]
    ) -> Answer:
        """What goes on from a text, or from token ids.

        Raises:
            InferloomError: The request failed.
        """
        return await self._whole(requests.completion(model, prompt, options))

    def stream_complete(
        self,
        model: str,
        prompt: str | Sequence[int],
        *,
        resumable_s: int | None = None,
        **options: Unpack[requests.Options],
    ) -> AsyncStream:
        """The same as it comes; see :meth:`generate`."""
        return AsyncStream(self.generate(requests.completion(model, prompt, options), resumable_s))

    async def embed(
        self, model: str, texts: Sequence[str], *, dimensions: int | None = None
    ) -> list[list[float]]:
        """A vector for each text.

        Raises:
            InferloomError: The request failed.
        """
        request = requests.embedding(model, texts, dimensions)

        async def read_all(course: Course, **how: Any) -> list[list[float]]:
            stub: Any = await self._stub(model, course)
            vectors: list[list[float]] = []
            async for event in stub.Embed(request, **how):
                vectors.extend(map(requests.vector, event.part.embeddings))
            return vectors

        return await self._tried(read_all)

    async def rerank(self, model: str, query: str, documents: Sequence[str]) -> list[tuple[int, float]]:
        """Documents by how well they answer a query, best first: their places and scores."""
        request = pb.RerankRequest(model=model, query=query, documents=documents)
        answer = await self._call(model, lambda stub: stub.Rerank, request)
        return [(each.index, each.score) for each in answer.results]

    async def tokenize(self, model: str, text: str) -> list[int]:
        """The token ids that a model reads for a text."""
        request = pb.TokenizeRequest(model=model, text=text)
        return list((await self._call(model, lambda stub: stub.Tokenize, request)).token_ids)

    async def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """The text that token ids stand for."""
        request = pb.DetokenizeRequest(model=model, token_ids=token_ids)
        return str((await self._call(model, lambda stub: stub.Detokenize, request)).text)

    async def generate(
        self, request: pb.GenerateRequest, resumable_s: int | None = None
    ) -> AsyncIterator[pb.GenerateResponse]:
        """The events of a request of the contract.

        Args:
            request: What is asked for.
            resumable_s: The stream outlives a lost connection for so many seconds at the mesh, and is gone on
                with at any gateway that shares the store. None: a connection that is lost after the first
                text ends it.

        Raises:
            InferloomError: The request failed.
        """
        course = Course(self._settings.trying, time.monotonic)
        metadata = self._settings.metadata
        asking = metadata if resumable_s is None else (*metadata, (RESUMABLE, str(resumable_s)))
        while True:
            call: Any = None
            try:
                stub: Any = await self._stub(request.model, course)
                if course.goes_on:
                    rest = pb.ContinueGenerateRequest(stream=course.stream, after=course.after)
                    call = stub.ContinueGenerate(rest, timeout=course.left(), metadata=metadata)
                else:
                    call = stub.Generate(request, timeout=course.left(), metadata=asking)
                    if resumable_s is not None:
                        told = dict(await call.initial_metadata() or ())
                        course.stream = str(told.get(STREAM, ""))
                async for event in call:
                    course.took(event)
                    yield event
            except grpc.RpcError as failure:
                wait = course.failed(read(failure))
                if not self._settings.registries:
                    self._turn.failed()
                await asyncio.sleep(wait)
            else:
                return
            finally:
                if call is not None:
                    call.cancel()

    async def _whole(self, request: pb.GenerateRequest) -> Answer:
        answer = Answer()
        async for event in self.generate(request):
            answer.add(event)
        return answer

    async def _call(self, model: str, method: Callable[[Any], Any], request: Any) -> Any:
        async def once(course: Course, **how: Any) -> Any:
            return await method(await self._stub(model, course))(request, **how)

        return await self._tried(once)

    async def _tried(self, once: Callable[..., Awaitable[T]]) -> T:
        course = Course(self._settings.trying, time.monotonic)
        while True:
            try:
                return await once(course, timeout=course.left(), metadata=self._settings.metadata)
            except grpc.RpcError as failure:
                wait = course.failed(read(failure))
                if not self._settings.registries:
                    self._turn.failed()
                await asyncio.sleep(wait)

    async def _stub(self, model: str, course: Course) -> InferenceServiceStub:
        if not self._settings.registries:
            return InferenceServiceStub(self._channel(self._turn.current))
        able = workers((await self._registry(course)).workers, model)
        if not able:
            raise InferloomError(
                f"No worker that takes requests has the model '{model}'.", grpc.StatusCode.NOT_FOUND
            )
        return InferenceServiceStub(self._channel(course.choose(able)))

    async def _registry(self, course: Course, **_: Any) -> Any:
        call: Any = RegistryServiceStub(self._channel(self._turn.current)).ListWorkers
        left = course.left()
        patience = _REGISTRY_S if left is None else min(left, _REGISTRY_S)
        try:
            return await call(ListWorkersRequest(), timeout=patience, metadata=self._settings.metadata)
        except grpc.RpcError:
            self._turn.failed()
            raise

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            credentials = self._settings.credentials
            self._channels[address] = (
                grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
                if credentials is None
                else grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
            )
        return self._channels[address]
