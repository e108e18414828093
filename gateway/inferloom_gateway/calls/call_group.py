"""One request at a door, and all the calls that answer it."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.admission import Admission
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.calls.generation_progress import GenerationProgress
from inferloom_gateway.calls.link import UnaryRequest
from inferloom_gateway.calls.progress import EmbeddingProgress
from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.stream import Event, Request, Stream
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError, server_error

if TYPE_CHECKING:
    from inferloom_gateway.calls.dispatch import Dispatcher

MOST_TOLD = 16
"""Attempts that a record keeps of those that came to nothing, where a request is tried for hours."""


class Fold(Protocol):
    """Folds the events of one generation."""

    def add(self, event: pb.GenerateResponse) -> None:
        """Take the next event."""

    def tokens(self, tokens: Tokens) -> None:
        """Take the next Delta, of nothing but tokens and text."""


S = TypeVar("S", bound=Fold)


class _Whole(Generic[S]):
    """Folds a generation into what ``make`` gives, anew each time that it begins."""

    def __init__(self, make: Callable[[], S]) -> None:
        self.done: asyncio.Future[S] = asyncio.get_running_loop().create_future()
        self._make = make
        self._fold = make()

    def take(self, event: pb.GenerateResponse) -> None:
        if event.HasField("started"):
            self._fold = self._make()
        self._fold.add(event)

    def tokens(self, tokens: Tokens) -> None:
        self._fold.tokens(tokens)

    def end(self, error: InferloomError | None) -> None:
        if self.done.done():
            return  # its caller was cancelled
        if error is None:
            self.done.set_result(self._fold)
        else:
            self.done.set_exception(error)


GenerateStream = Stream[pb.GenerateRequest, pb.GenerateResponse]
EmbedStream = Stream[pb.EmbedRequest, pb.EmbedResponse]


class CallGroup:
    """The calls of one request, which have one context and one record, and whose answers fit together.

    Made by :meth:`~inferloom_gateway.calls.dispatch.Dispatcher.group`. Leaving its block, or
    :meth:`close`, ends what still runs, and says how the request ended: with the error that its caller is
    told. A call that fails says nothing of that, since whoever made it may go on without it. All methods
    raise InferloomError if no worker answers.
    """

    def __init__(self, dispatcher: "Dispatcher", record: Record, admission: Admission | None = None) -> None:
        self.record = record
        self._admission = admission
        self.pin = ComputePin()
        self._dispatcher = dispatcher
        self._streams: list[Stream[Any, Any]] = []
        self._open = True
        dispatcher.listeners.on_started(record)

    async def generate(
        self, request: pb.GenerateRequest, asked: pb.GenerateRequest | None = None
    ) -> GenerateStream:
        """Start a generation; return its stream once a worker has accepted it. ``asked`` is what was asked at
        first, where ``request`` is the rest of it."""
        return await self._generate(request, whole=False, asked=asked)

    async def collect(self, request: pb.GenerateRequest, make: Callable[[], S]) -> S:
        """Run a generation to its end; return what ``make`` gives, with its events.

        A worker that is lost on the way costs time only: the generation goes on elsewhere, or is repeated,
        into a new one.
        """
        with await self._generate(request, whole=True) as stream:
            whole = _Whole(make)
            stream.push_to(whole)
            try:
                return await whole.done
            finally:
                del whole  # it keeps the error that it ended with, which keeps this frame

    async def embed(self, request: pb.EmbedRequest) -> EmbedStream:
        """Start an embedding; return its stream once a worker has accepted it."""
        await self._admit(request)
        stream = self._dispatcher.stream(self, request, EmbeddingProgress(request))
        return await self._begin(stream, request)

    async def rerank(self, request: pb.RerankRequest) -> pb.RerankResponse:
        """Rerank on one worker."""
        response: pb.RerankResponse = await self._unary(request)
        return response

    async def tokenize(self, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        """Tokenise on one worker."""
        response: pb.TokenizeResponse = await self._unary(request)
        return response

    async def detokenize(self, request: pb.DetokenizeRequest) -> pb.DetokenizeResponse:
        """Detokenise on one worker."""
        response: pb.DetokenizeResponse = await self._unary(request)
        return response

    async def get_tokenizer(self, request: pb.GetTokenizerRequest) -> pb.GetTokenizerResponse:
        """Have one worker describe its tokenizer."""
        response: pb.GetTokenizerResponse = await self._unary(request)
        return response

    async def reserve(self, request: pb.GenerateRequest) -> None:
        """Count a request before it is made, which then costs nothing more.

        Raises:
            InferloomError: Its caller has had as much as he may have.
        """
        if self._admission is not None:
            await self._admission.admit(request)
            self._admission.give_back(request)

    def anew(self) -> None:
        """Forget what was tried, of which nothing has begun: whatever computes it may be asked anew."""
        self.pin = ComputePin()
        del self.record.attempts[:-MOST_TOLD]

    def close(self, error: BaseException | None = None) -> None:
        """End the calls that still run, and the record: with ``error``, where the request failed, or what was
        raised where it was given up. None: it was answered, or left amid its answer."""
        if not self._open:
            return
        self._open = False
        for stream in self._streams:
            stream.close()
        record = self.record
        if isinstance(error, Exception):
            record.error = error.kept() if isinstance(error, InferloomError) else server_error()
        else:
            record.cancelled = error is not None or not all(stream.completed for stream in self._streams)
        self._streams.clear()  # they hold this group
        record.ended_s = self._dispatcher.clock() - record.began
        self._dispatcher.listeners.on_ended(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    async def _admit(self, request: pb.GenerateRequest | pb.EmbedRequest | UnaryRequest) -> None:
        if self._admission is not None:
            await self._admission.admit(request)

    async def _generate(
        self, request: pb.GenerateRequest, *, whole: bool, asked: pb.GenerateRequest | None = None
    ) -> GenerateStream:
        await self._admit(request)
        stream = self._dispatcher.stream(self, request, GenerationProgress(request, whole=whole), asked)
        return await self._begin(stream, request)

    async def _begin(self, stream: Stream[Request, Event], request: Request) -> Stream[Request, Event]:
        """Begin a stream. One that does not begin is no part of the answer."""
        self._streams.append(stream)
        try:
            return await stream.begin(request)
        except BaseException:
            if stream in self._streams:  # unless the group was closed meanwhile
                self._streams.remove(stream)
            stream.close()
            if self._admission is not None:
                self._admission.give_back(request)
            raise

    async def _unary(self, request: UnaryRequest) -> Any:
        await self._admit(request)
        return await self._dispatcher.unary(self, request)
