"""Carries a plan out: as a stream of events, or as one body."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from fastapi import Request, Response

from inferloom.v1.inference_pb2 import Started
from inferloom_gateway.calls.bounded_gather import gather_bounded
from inferloom_gateway.calls.call_group import GenerateStream
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.caller import calls_of
from inferloom_gateway.http.disconnect import AbortOnDisconnect
from inferloom_gateway.http.event_bytes import pieces
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.kept import Keep, KeptStream
from inferloom_gateway.http.pushed_events import PushedEvents
from inferloom_gateway.http.sink import sink_of
from inferloom_gateway.http.translate.fields import restate
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_mesh.errors import InferloomError

LARGE_ENTRIES = 2000
"""Log-probabilities from which on an answer is written on the intake's thread, for tens of milliseconds."""

_MOST_NOTES = 900


async def answer(
    request: Request, gateway: Gateway, plan: Plan, headers: Mapping[str, str], keep: Keep | None = None
) -> Response:
    """Run a plan's generations; return the response.

    ``keep`` is given what a plan of one generation came to as one body, before the last of it is sent.

    Raises:
        InferloomError: One of them was refused or failed.
        ClientDisconnectedError: The client left; the generations are aborted.
    """
    exchange = exchange_of(request.scope)
    calls = calls_of(request, gateway, "generate", plan.parts[0].request.model, streamed=plan.stream)

    async def collect(part: Part) -> Outcome:
        try:
            return await calls.collect(part.request, lambda: Outcome(part.request.sampling.n or 1))
        except InferloomError as failure:
            raise restate(failure, part.rename) from failure

    if not plan.stream:
        async with AbortOnDisconnect(request.receive, sink_of(request.scope).direct):
            with calls:
                outcomes = await gather_bounded([collect(part) for part in plan.parts])
        exchange.worker = calls.record.answered_by
        exchange.notes = told(outcome.started for outcome in outcomes)
        make = partial(plan.body, outcomes)
        large = sum(outcome.entries for outcome in outcomes) > LARGE_ENTRIES
        body = await request.app.state.intake.run(make) if large else make()
        if keep is not None:
            await keep(body)
        return Response(body, headers=dict(headers), media_type="application/json")

    async def open_all(stack: ExitStack) -> Sequence[GenerateStream]:
        async def start(part: Part) -> GenerateStream:
            try:
                return await calls.generate(part.request)
            except InferloomError as failure:
                raise restate(failure, part.rename) from failure

        stack.enter_context(calls)
        streams = await gather_bounded([start(part) for part in plan.parts])
        exchange.worker = calls.record.answered_by
        exchange.notes = told(stream.ahead.started for stream in streams if stream.ahead is not None)
        return streams

    encoders = [part.encoder for part in plan.parts]
    first = 0 if gateway.settings.event_ids else None
    if keep is None:
        return PushedEvents(open_all, encoders, headers, first)

    async def open_kept(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        (stream,) = await open_all(stack)
        return pieces([_kept(stream, plan, keep)], encoders)

    return EventStream(open_kept, encoders[0].failed, headers, first)


def told(answers: Iterable[Started]) -> str:
    """What workers said of requests that they do not do all of: one line, under 1 KB."""
    notes = list(dict.fromkeys(note for started in answers for note in started.notes))
    return "; ".join(notes)[:_MOST_NOTES]


def _kept(stream: GenerateStream, plan: Plan, keep: Keep) -> KeptStream:
    outcome = Outcome(plan.parts[0].request.sampling.n or 1)
    return KeptStream(stream, outcome, lambda: keep(plan.body([outcome])))
