"""Carries an embeddings request out: its batches side by side, their vectors as one body."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from inferloom.v1.inference_pb2 import EmbedRequest
from inferloom_gateway.calls.bounded_gather import gather_bounded
from inferloom_gateway.calls.call_group import CallGroup, EmbedStream
from inferloom_gateway.http.exchange import Exchange
from inferloom_gateway.http.json_stream import JsonStream
from inferloom_gateway.http.translate import embeddings, fields
from inferloom_mesh.errors import InferloomError

MOST_AT_ONCE = 32
"""Batches of one request that run at once."""

Pieces = AsyncGenerator[bytes, None]


def embedding_answer(
    exchange: Exchange,
    calls: CallGroup,
    model: str,
    batches: Sequence[EmbedRequest],
    headers: Mapping[str, str],
    *,
    batch_size: int,
    base64: bool,
) -> JsonStream:
    """The response that holds the vectors of ``batches``, each of ``batch_size`` inputs but the last."""

    async def start(number: int, request: EmbedRequest) -> "_Batch":
        first = number * batch_size
        with _in_rest_words(first):
            return _Batch(first, base64, await calls.embed(request))

    async def open_all(stack: ExitStack) -> Pieces:
        async def complete(number: int, request: EmbedRequest) -> "_Batch":
            batch = await start(number, request)
            with batch.stream:
                batch.made = [piece async for piece in batch.pieces()]
            return batch

        stack.enter_context(calls)
        # The status waits until every input was accepted. Where not all batches run at once, that is when all
        # are complete.
        begin = start if len(batches) <= MOST_AT_ONCE else complete
        begun = await gather_bounded([begin(*each) for each in enumerate(batches)], MOST_AT_ONCE)
        exchange.worker = calls.record.answered_by
        return _body(model, begun)

    return JsonStream(open_all, headers)


@dataclass(slots=True)
class _Batch:
    """One call: its vectors, and the tokens that it counted at its end."""

    first: int
    base64: bool
    stream: EmbedStream
    tokens: int = 0
    made: list[bytes] | None = field(default=None)

    async def pieces(self) -> Pieces:
        if self.made is not None:
            for piece in self.made:
                yield piece
            return
        with _in_rest_words(self.first):
            while (event := await self.stream.read()) is not None:
                part = event.part
                if part.embeddings:
                    at = self.first + part.first_input
                    for piece in embeddings.entries(part.embeddings, at, base64=self.base64):
                        yield piece
                elif event.HasField("completed"):
                    self.tokens = event.completed.usage.prompt_tokens


async def _body(model: str, batches: Sequence[_Batch]) -> Pieces:
    yield embeddings.HEAD
    for batch in batches:
        async for piece in batch.pieces():
            yield piece
    yield embeddings.tail(model, sum(batch.tokens for batch in batches))


@contextmanager
def _in_rest_words(offset: int) -> Iterator[None]:
    try:
        yield
    except InferloomError as failure:
        raise fields.restate(failure, fields.of_embedding(offset)) from failure
