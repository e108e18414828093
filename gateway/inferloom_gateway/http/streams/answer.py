"""Asking for a resumable stream, and coming back to one."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from typing import Any

import orjson
from fastapi import Request, Response

from inferloom_gateway.calls.bounded_gather import gather_bounded
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.http.body import read_body
from inferloom_gateway.http.caller import calls_of, context_of
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.exchange import exchange_of, identity_of
from inferloom_gateway.http.routes.shared import gateway_of
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.streams.frames import failed, frames
from inferloom_gateway.http.streams.kept import PLANS, SEVERAL
from inferloom_gateway.http.time_limits import time_limits
from inferloom_gateway.http.translate.fields import restate
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_gateway.http.unknown_fields import FieldPolicy
from inferloom_gateway.storage.streams import MOST_PROMPTS, KeptStream
from inferloom_gateway.streams.asking import HEADER, STREAM_HEADER, resumable_s
from inferloom_gateway.streams.book import unknown
from inferloom_gateway.streams.desk import New, StreamDesk
from inferloom_gateway.streams.follower import Reader
from inferloom_gateway.streams.generation import Generation
from inferloom_mesh.errors import InferloomError, invalid, unsupported
from inferloom_mesh.request_id import is_request_id


def desk_of(request: Request) -> StreamDesk:
    """Where this process has its resumable streams."""
    desk: StreamDesk = request.app.state.streams
    return desk


async def begin(request: Request, endpoint: str, request_id: str, created: int) -> Response:
    """Answer a request that asks for a resumable stream.

    Raises:
        InferloomError: It cannot be one, or no worker accepts it.
    """
    seconds = resumable_s(request.headers[HEADER])
    desk, gateway = desk_of(request), gateway_of(request)
    desk.check()
    schema, make = PLANS[endpoint]
    policy: FieldPolicy = request.app.state.fields

    def read(body: Body, document: Mapping[str, Any]) -> tuple[bytes, Plan, dict[str, str]]:
        if getattr(body, "store", None):
            raise unsupported("store", f"store is not supported together with {HEADER}.")
        ignored = policy.headers(schema.endpoint, document)
        return orjson.dumps(document), make(body, request_id, created), ignored

    state = request.app.state
    body, plan, headers = await read_body(
        request, state.intake, schema, gateway.settings.max_body_bytes, read
    )
    count = len(plan.parts)
    if not plan.stream or count > MOST_PROMPTS:
        raise invalid(HEADER, f"{HEADER} is for stream=true and at most {MOST_PROMPTS} prompts.")
    tenant, asked = identity_of(request.scope).tenant, endpoint if count == 1 else SEVERAL
    kept = KeptStream(
        *(tenant, request_id, asked, body, created, seconds), prompts=count, deadline=_deadline(request)
    )

    async def open_frames(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        calls = calls_of(request, gateway, "generate", plan.parts[0].request.model, streamed=True)

        async def start() -> list[Generation]:
            return await gather_bounded([_begun(calls, place, part) for place, part in enumerate(plan.parts)])

        try:
            reader = Reader(identity_of(request.scope), calls.record.context)
            follower = await desk.attach(reader, request_id, 0, New(kept, calls, start))
        except BaseException as failure:
            calls.close(failure)
            raise
        exchange_of(request.scope).worker = calls.record.answered_by
        return frames(stack.enter_context(follower), follower.kept, -1)

    return EventStream(open_frames, failed, {**headers, STREAM_HEADER: request_id})


def resume(request: Request, name: str) -> Response:
    """Go on with a stream behind the event that ``Last-Event-ID`` names.

    Raises:
        InferloomError: The header names none, or no stream can have that name.
    """
    desk, gateway = desk_of(request), gateway_of(request)
    desk.check()
    if not is_request_id(name):  # it becomes a header
        raise unknown(name)
    text = request.headers.get("last-event-id", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise invalid("last-event-id", "The header Last-Event-ID must be the id of an event, a whole number.")
    last, patience = int(text) if text else -1, time_limits(request.headers, streamed=True).whole_s
    reader = Reader(identity_of(request.scope), context_of(request, gateway, streamed=True), patience)

    async def open_frames(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        follower = stack.enter_context(await desk.attach(reader, name, 0))
        if follower.kept.endpoint not in PLANS:
            raise unsupported("id", "The stream was asked for by Generate: ContinueGenerate goes on with it.")
        return frames(follower, follower.kept, last)

    return EventStream(open_frames, failed, {STREAM_HEADER: name}, last + 1)


def _deadline(request: Request) -> float | None:
    """When a request is to be over, as its caller says, in seconds since 1970. None: he does not."""
    seconds = time_limits(request.headers, streamed=True).whole_s
    return None if seconds is None else gateway_of(request).storage.now() + seconds


async def _begun(calls: CallGroup, place: int, part: Part) -> Generation:
    """A generation that a worker has accepted."""
    generation = Generation(place, part.request)
    try:
        generation.begin(await calls.generate(part.request))
    except InferloomError as failure:
        raise restate(failure, part.rename) from failure
    return generation
