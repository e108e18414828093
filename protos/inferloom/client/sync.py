"""The client for programs without an event loop. It may be used from several threads."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar, Unpack

import grpc

from inferloom.client import requests
from inferloom.client.answer import Answer
from inferloom.client.course import RESUMABLE, STREAM, Course
from inferloom.client.errors import InferloomError, read
from inferloom.client.settings import CHANNEL_OPTIONS
from inferloom.client.told import Told
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.registry_pb2 import ListWorkersRequest, ListWorkersResponse
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub

T = TypeVar("T")


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


class Client(Told[grpc.Channel]):
    """Calls a mesh over gRPC. What it is told is in :class:`~inferloom.client.told.Told`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            channel.close()

    def models(self) -> list[pb.Model]:
        """The models that can be called."""
        if self._settings.registries:
            listed = self._tried(self._registry)
            cards = {card.id: card for row in listed.workers for card in row.worker.models}
            return [cards[name] for name in sorted(cards)]
        return list((self._call("", lambda stub: stub.ListModels, pb.ListModelsRequest())).models)

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

        def read_all(course: Course, **how: Any) -> list[list[float]]:
            stub: Any = self._stub(model, course)
            vectors: list[list[float]] = []
            for event in stub.Embed(request, **how):
                vectors.extend(map(requests.vector, event.part.embeddings))
            return vectors

        return self._tried(read_all)

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

    def generate(
        self, request: pb.GenerateRequest, resumable_s: int | None = None
    ) -> Iterator[pb.GenerateResponse]:
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
                stub: Any = self._stub(request.model, course)
                if course.goes_on:
                    rest = pb.ContinueGenerateRequest(stream=course.stream, after=course.after)
                    call = stub.ContinueGenerate(rest, timeout=course.left(), metadata=metadata)
                else:
                    call = stub.Generate(request, timeout=course.left(), metadata=asking)
                    if resumable_s is not None:
                        told = dict(call.initial_metadata() or ())
                        course.stream = str(told.get(STREAM, ""))
                for event in call:
                    course.took(event)
                    yield event
            except (grpc.RpcError, InferloomError) as failure:
                time.sleep(self._failed(course, failure))
            else:
                return
            finally:
                if call is not None:
                    call.cancel()

    def _whole(self, request: pb.GenerateRequest) -> Answer:
        answer = Answer()
        for event in self.generate(request):
            answer.add(event)
        return answer

    def _call(self, model: str, method: Callable[[Any], Any], request: Any) -> Any:
        def once(course: Course, **how: Any) -> Any:
            return method(self._stub(model, course))(request, **how)

        return self._tried(once)

    def _tried(self, once: Callable[..., T]) -> T:
        course = Course(self._settings.trying, time.monotonic)
        while True:
            try:
                return once(course, timeout=course.left(), metadata=self._settings.metadata)
            except (grpc.RpcError, InferloomError) as failure:
                time.sleep(self._failed(course, failure))

    def _stub(self, model: str, course: Course) -> InferenceServiceStub:
        if self._settings.registries:
            return InferenceServiceStub(self._channel(course.worker(model, self._registry(course))))
        course.asked = self._turn.current
        return InferenceServiceStub(self._channel(course.asked))

    def _registry(self, course: Course, **_: Any) -> ListWorkersResponse:
        course.asked = self._turn.current
        call: Any = RegistryServiceStub(self._channel(course.asked)).ListWorkers
        patience, metadata = course.patience(), self._settings.metadata
        try:
            listed: ListWorkersResponse = call(ListWorkersRequest(), timeout=patience, metadata=metadata)
        except grpc.RpcError as failure:
            self._turn.failed(course.asked)
            raise course.unheard(read(failure), patience) from failure
        return listed

    def _channel(self, address: str) -> grpc.Channel:
        with self._lock:
            if address not in self._channels:
                credentials = self._settings.credentials
                self._channels[address] = (
                    grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
                    if credentials is None
                    else grpc.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
                )
            return self._channels[address]
