"""Goes on with a stream whose process is dead."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferloom.v1.inference_pb2 import GenerateRequest
from inferloom_gateway.calls.bounded_gather import gather_bounded
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.book import Book
from inferloom_gateway.streams.follower import Reader
from inferloom_gateway.streams.generation import Generation, read
from inferloom_gateway.streams.run import over
from inferloom_mesh.errors import InferloomError, Reason


@dataclass(frozen=True, slots=True)
class Resumed:
    """A stream whose missing generations workers have accepted."""

    calls: CallGroup
    generations: Sequence[Generation]
    known: int
    """Events that there were."""


async def resumed(
    gateway: Gateway, book: Book, reader: Reader, mine: KeptStream, asked: Sequence[GenerateRequest]
) -> Resumed | None:
    """Ask workers for what is missing of a stream that is claimed; None: it is over.

    It has the time that its first caller gave it, or as much as the gateway gives; that of who reads it now
    bounds his reading alone.

    Args:
        gateway: Asks them.
        book: Has what is written.
        reader: In whose name they are asked.
        mine: The stream.
        asked: What was asked for at first, for each of its generations.

    Raises:
        InferloomError: None accepts it.
    """
    generations = [Generation(place, request) for place, request in enumerate(asked)]
    known = 0
    while found := (await book.news(mine.tenant, mine.id, known)).events:
        known += len(found)
        for data in found:
            place, event = read(data, len(generations))
            generations[place].know(event)
    left = None if mine.deadline is None else mine.deadline - gateway.storage.now()
    try:
        rests = [generation.rest() for generation in generations]
        if left is not None and left <= 0 and any(rests):
            raise InferloomError(Reason.TIMEOUT, "The time that the stream was given is over.")
    except InferloomError as failure:
        await book.tell(mine, known, [], over(failure), read=True)
        return None
    model = next((rest.model for rest in rests if rest is not None), None)
    if model is None:
        await book.tell(mine, known, [], over(None), read=True)
        return None
    admission = gateway.admission(reader.identity, model, limited=False)  # its tries are the mesh's own
    context = replace(reader.context, deadline=gateway.deadline(left))
    calls = gateway.dispatcher.group(context, "generate", model, admission)
    try:
        calls.pin.accept(mine.compute_hash)
        pairs = zip(generations, rests, strict=True)
        await gather_bounded([_begin(calls, each, rest) for each, rest in pairs if rest is not None])
    except BaseException as failure:  # also a caller who left
        calls.close(failure)
        raise
    return Resumed(calls, generations, known)


async def _begin(calls: CallGroup, generation: Generation, rest: GenerateRequest) -> None:
    generation.begin(await calls.generate(rest, generation.asked))
