"""The client for programs without an event loop. It may be used from several threads."""

from collections.abc import Iterator, Sequence
from typing import Any, Self, Unpack

from inferloom.client import requests
from inferloom.client.answer import Answer
from inferloom.client.course import Course
from inferloom.client.sync_calls import SyncCalls
from inferloom.v1 import inference_pb2 as pb


class Stream:
    """An answer while it comes: iterate over its text, or over :meth:`events`.

    Leaving the ``with`` block ends the generation; one that is resumable goes on for its time.
    """

    def __init__(self, events: Iterator[pb.GenerateResponse]) -> None:
        self._events: Any = events
        self.answer = Answer()
        """All that has come."""

    def events(self) -> Iterator[pb.GenerateResponse]:
        """The contract's events, to the end.

        Raises:
            InferloomError: The request failed.
        """
        for event in self._events:
            self.answer.add(event)
            yield event

    def __iter__(self) -> Iterator[str]:
        for event in self._events:
            if text := self.answer.add(event):
                yield text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()


class Client(SyncCalls):
    """Calls a mesh over gRPC. What it is told is in :class:`~inferloom.client.told.Told`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def models(self) -> list[pb.Model]:
        """The models that can be called."""
        if self._directory is not None:
            return self._tried("", self._listed_models)
        return list(self._call("", lambda stub: stub.ListModels, pb.ListModelsRequest()).models)

    def chat(
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
        return self._whole(requests.chat(model, messages, tools, options))

    def stream_chat(
        self,
        model: str,
        messages: str | Sequence[requests.Message],
        *,
        tools: Sequence[pb.Tool] = (),
        resumable_s: int | None = None,
        **options: Unpack[requests.Options],
    ) -> Stream:
        """The answer to a conversation, as it comes; see :meth:`generate`."""
        return Stream(self.generate(requests.chat(model, messages, tools, options), resumable_s))

    def complete(
        self, model: str, prompt: str | Sequence[int], **options: Unpack[requests.Options]
    ) -> Answer:
        """What goes on from a text, or from token ids.

        Raises:
            InferloomError: The request failed.
        """
        return self._whole(requests.completion(model, prompt, options))

    def stream_complete(
        self,
        model: str,
        prompt: str | Sequence[int],
        *,
        resumable_s: int | None = None,
        **options: Unpack[requests.Options],
    ) -> Stream:
        """The same as it comes; see :meth:`generate`."""
        return Stream(self.generate(requests.completion(model, prompt, options), resumable_s))

    def embed(
        self, model: str, texts: str | Sequence[str], *, dimensions: int | None = None
    ) -> list[list[float]]:
        """A vector for each text; one may stand without its list.

        Raises:
            InferloomError: The request failed.
        """
        request = requests.embedding(model, texts, dimensions)

        def read_all(course: Course) -> list[list[float]]:
            stub: Any = self._stub(model, course)
            vectors: list[list[float]] = []
            for event in stub.Embed(request, timeout=course.left(), metadata=self._settings.metadata):
                vectors.extend(map(requests.vector, event.part.embeddings))
            return vectors

        return self._tried(model, read_all)

    def rerank(self, model: str, query: str, documents: str | Sequence[str]) -> list[tuple[int, float]]:
        """Documents by how well they answer a query, best first: their places and scores."""
        request = requests.ranking(model, query, documents)
        answer = self._call(model, lambda stub: stub.Rerank, request)
        return [(each.index, each.score) for each in answer.results]

    def tokenize(self, model: str, text: str) -> list[int]:
        """The token ids that a model reads for a text."""
        request = pb.TokenizeRequest(model=model, text=text)
        return list((self._call(model, lambda stub: stub.Tokenize, request)).token_ids)

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """The text that token ids stand for."""
        request = pb.DetokenizeRequest(model=model, token_ids=token_ids)
        return str((self._call(model, lambda stub: stub.Detokenize, request)).text)

    def _whole(self, request: pb.GenerateRequest) -> Answer:
        answer = Answer()
        for event in self.generate(request):
            answer.add(event)
        return answer
