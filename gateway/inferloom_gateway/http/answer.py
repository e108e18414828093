"""Carries a plan out: as a stream of events, or as one body."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from fastapi import Request, Response

from inferloom.v1.inference_pb2 import GenerateRequest
from inferloom_gateway.calls.exchange import GenerateStream
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.bounded_gather import together
from inferloom_gateway.http.caller import exchange_of
from inferloom_gateway.http.disconnect import AbortOnDisconnect
from inferloom_gateway.http.event_bytes import pieces
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.translate.fields import restate
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_gateway.http.translate.plan import Plan
from inferloom_mesh.errors import InferloomError

Rename = Callable[[str], str]


async def answer(request: Request, gateway: Gateway, plan: Plan, headers: Mapping[str, str]) -> Response:
    """Run a plan's generations; return the response.

    Raises:
        InferloomError: One of them was refused or failed.
        ClientDisconnectedError: The client left; the generations are aborted.
    """
    encoders = plan.encoders
    exchange = exchange_of(request, gateway, "generate", plan.requests[0].model)

    async def collect(generation: GenerateRequest, rename: Rename) -> Outcome:
        with _in_rest_words(rename):
            return await exchange.collect(generation, lambda: Outcome(generation.sampling.n or 1))

    if encoders is None:
        with exchange:
            async with AbortOnDisconnect(request.receive):
                outcomes = await together(
                    [collect(*each) for each in zip(plan.requests, plan.renames, strict=True)]
                )
        return Response(plan.body(outcomes), headers=dict(headers), media_type="application/json")

    async def open_all(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        async def start(generation: GenerateRequest, rename: Rename) -> GenerateStream:
            with _in_rest_words(rename):
                return await exchange.generate(generation)

        stack.enter_context(exchange)
        streams = await together([start(*each) for each in zip(plan.requests, plan.renames, strict=True)])
        return pieces(streams, encoders)

    return EventStream(open_all, headers)


@contextmanager
def _in_rest_words(rename: Rename) -> Iterator[None]:
    try:
        yield
    except InferloomError as failure:
        raise restate(failure, rename) from failure
