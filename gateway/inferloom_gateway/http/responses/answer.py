"""Makes a response while its caller waits: as a stream of typed events, or as one body."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack

import orjson
from fastapi import Request, Response

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.call_group import CallGroup, GenerateStream
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.answer import told
from inferloom_gateway.http.caller import calls_of
from inferloom_gateway.http.disconnect import AbortOnDisconnect
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.responses.asking import ask
from inferloom_gateway.http.responses.frames import Numbering
from inferloom_gateway.http.responses.kept import Kept
from inferloom_gateway.http.responses.making import Making
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)


class Folded:
    """A response that is made without telling of it."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly

    def add(self, event: pb.GenerateResponse) -> None:
        """Fold one event in."""
        for _ in self.assembly.add(event):
            pass

    def tokens(self, tokens: Tokens) -> None:
        """The same."""
        self.add(tokens.event())


async def answer(
    request: Request, gateway: Gateway, kept: Kept, making: Making, headers: Mapping[str, str]
) -> Response:
    """Make a response, keep it if it is to be kept, and return it.

    Raises:
        InferloomError: It was refused or failed.
        ClientDisconnectedError: The client left; nothing is kept.
    """
    calls = calls_of(request, gateway, "generate", making.body.model, streamed=bool(making.body.stream))
    if making.body.stream:
        first = 0 if gateway.settings.event_ids else None
        return _streamed(request, kept, making, calls, headers, first)

    async def collect(wanted: pb.GenerateRequest) -> Folded:
        return await calls.collect(wanted, lambda: Folded(making.assembly()))

    async with AbortOnDisconnect(request.receive):
        with calls:
            assembly = (await ask(making, calls, collect)).assembly
    made, exchange = assembly.document, exchange_of(request.scope)
    exchange.worker, exchange.notes = calls.record.answered_by, told([assembly.started])
    await _keep(kept, making, made)
    return Response(orjson.dumps(made), headers=dict(headers), media_type="application/json")


def _streamed(
    request: Request,
    kept: Kept,
    making: Making,
    calls: CallGroup,
    headers: Mapping[str, str],
    first: int | None,
) -> Response:
    assembly, numbering = making.assembly(), Numbering()

    async def open_stream(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        stack.enter_context(calls)
        stream = await ask(making, calls, calls.generate)
        exchange = exchange_of(request.scope)
        exchange.worker = calls.record.answered_by
        exchange.notes = told([stream.ahead.started] if stream.ahead is not None else [])
        return pieces(stream)

    async def pieces(stream: GenerateStream) -> AsyncGenerator[bytes, None]:
        yield numbering.frames(assembly.begin())
        while (event := await stream.read()) is not None:
            if event.HasField("heartbeat"):
                yield KEEP_ALIVE
                continue
            events = list(assembly.add(event))
            if event.HasField("completed"):  # whoever has read the last event may go on from it
                await _keep(kept, making, events[-1]["response"])
            if events:
                yield numbering.frames(events)

    def failed(error: InferloomError) -> bytes:
        return numbering.frames(assembly.fail(error))

    return EventStream(open_stream, failed, headers, first)


async def _keep(kept: Kept, making: Making, made: Document) -> None:
    """Keep a response that is over. One that cannot be kept is answered all the same, and says so."""
    if not made["store"]:
        return
    try:
        await kept.save(making.sealing.tenant, making.saved(made))
    except InferloomError as failure:
        log.warning("a response is not kept: %s", failure.message)
        made["store"] = False
