"""The bytes of a streamed answer, piece by piece: of one generation, or of several at once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from inferloom.v1.inference_pb2 import GenerateResponse, Usage
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_gateway.http.translate.plan import Encoder
from inferloom_gateway.http.translate.usage import total


class Events(Protocol):
    """The events of one generation."""

    async def read(self) -> GenerateResponse | None:
        """The next one; None at the end. Raises InferloomError."""


def pieces(streams: Sequence[Events], encoders: Sequence[Encoder]) -> AsyncGenerator[bytes, None]:
    """The pieces of an answer, as its generations make them; one that fails fails all."""
    return _of_one(streams[0], encoders[0]) if len(streams) == 1 else _of_several(streams, encoders)


async def _of_one(stream: Events, encoder: Encoder) -> AsyncGenerator[bytes, None]:
    usage = Usage()
    while (event := await stream.read()) is not None:
        if event.HasField("completed"):
            usage = event.completed.usage
        elif piece := encode(event, encoder):
            yield piece
    yield encoder.end(usage)


async def _of_several(streams: Sequence[Events], encoders: Sequence[Encoder]) -> AsyncGenerator[bytes, None]:
    usages: list[Usage] = []
    reads = {
        asyncio.create_task(stream.read()): (stream, encoder)
        for stream, encoder in zip(streams, encoders, strict=True)
    }
    try:
        while reads:
            done, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
            for read in done:
                event = read.result()
                stream, encoder = reads.pop(read)
                if event is None:
                    continue
                reads[asyncio.create_task(stream.read())] = stream, encoder
                if event.HasField("completed"):
                    usages.append(event.completed.usage)
                elif piece := encode(event, encoder):
                    yield piece
    finally:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
    yield encoders[0].end(total(usages))


def encode(event: GenerateResponse, encoder: Encoder) -> bytes:
    """The bytes of one event that is not the last: events of a stream, KEEP_ALIVE, or none."""
    match event.WhichOneof("event"):
        case "delta":
            return encoder.delta(event.delta)
        case "heartbeat":
            return KEEP_ALIVE
        case "prompt":
            return encoder.prompt(event.prompt)
        case "started":
            return encoder.started(event.started)
        case "finished":
            return encoder.finished(event.finished)
        case _:
            return b""
