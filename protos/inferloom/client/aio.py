"""The client for programs with an event loop."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, Unpack

from inferloom.client import requests
from inferloom.client.aio_calls import AsyncCalls
from inferloom.client.answer import Answer
from inferloom.client.course import Course
from inferloom.v1 import inference_pb2 as pb


class AsyncStream:
    """An answer while it comes: iterate over its text, or over :meth:`events`.

    Leaving the ``async with`` block, or cancelling, ends the generation; one that is resumable goes on for
    its time.
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


class AsyncClient(AsyncCalls):
    """Calls a mesh over gRPC. What it is told is in :class:`~inferloom.client.told.Told`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def models(self) -> list[pb.Model]:
        """The models that can be called."""
        if self._directory is not None:
            return await self._tried("", self._listed_models)
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
        self, model: str, texts: str | Sequence[str], *, dimensions: int | None = None
    ) -> list[list[float]]:
        """A vector for each text; one may stand without its list.

        Raises:
            InferloomError: The request failed.
        """
        request = requests.embedding(model, texts, dimensions)

        async def read_all(course: Course) -> list[list[float]]:
            stub: Any = await self._stub(model, course)
            call = stub.Embed(request, timeout=course.left(), metadata=self._settings.metadata)
            vectors: list[list[float]] = []
            async for event in call:
                vectors.extend(map(requests.vector, event.part.embeddings))
            return vectors

        return await self._tried(model, read_all)

    async def rerank(self, model: str, query: str, documents: str | Sequence[str]) -> list[tuple[int, float]]:
        """Documents by how well they answer a query, best first: their places and scores."""
        request = requests.ranking(model, query, documents)
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

    async def _whole(self, request: pb.GenerateRequest) -> Answer:
        answer = Answer()
        async for event in self.generate(request):
            answer.add(event)
        return answer
