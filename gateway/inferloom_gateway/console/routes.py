"""The console over HTTP: its page, and its data."""

import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from google.protobuf.json_format import MessageToDict

from inferloom.v1.gateway_pb2 import GetRequestRequest
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.console.assets import INDEX, SAFE, assets
from inferloom_gateway.console.console import Console
from inferloom_gateway.console.key_bodies import LaidDown, LimitedKind, NewKey
from inferloom_gateway.console.key_desk import KeyDesk
from inferloom_gateway.console.requests import story
from inferloom_gateway.http import errors
from inferloom_gateway.http.body import read_body
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.exchange import identity_of, request_id_of
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.sse import framed
from inferloom_gateway.http.translate import chat
from inferloom_mesh.errors import InferloomError, Reason, shown

router = APIRouter(include_in_schema=False)

MOST_BODY_BYTES = 2**20

_PRIVATE = {**SAFE, "cache-control": "no-store"}


def _console(request: Request) -> Console:
    """The console, for pages of this gateway: those of others are kept out, whatever CORS allows elsewhere.

    Raises:
        InferloomError: Another site's page asks, or one that may be.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise InferloomError(Reason.PERMISSION_DENIED, "The console's data is for its own page only.")
    console: Console = request.app.state.console
    if not console.answers_to(request.headers.get("host", "")):
        message = (
            "A gateway without keys and TLS shows the console's data only to who calls it by an IP address, "
            "localhost, or its machine's name: another name may be another site's."
        )
        raise InferloomError(Reason.PERMISSION_DENIED, message)
    return console


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), 200, _PRIVATE, media_type="application/json")


@router.get("/console")
async def page(request: Request) -> Response:
    """The page."""
    return await asset(request, INDEX)


@router.get("/console/data/live")
async def live(request: Request) -> Response:
    """The mesh and its requests: server-sent events, ``whole`` and then each ``change``."""
    console = _console(request)
    try:
        console.live.check_room()
    except InferloomError as full:
        # The page's next try is a new connection, which another process of the gateway may get.
        return errors.response(full, {"connection": "close"})

    async def begin(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        return _while_open(console, identity_of(request.scope))

    return EventStream(begin, lambda error: framed(errors.render(error), "error"), _PRIVATE, first=None)


async def _while_open(console: Console, who: Identity) -> AsyncGenerator[bytes, None]:
    """What a viewer sees, for as long as the key that was shown opens something; it is looked at each second.

    Raises:
        InferloomError: It does not any more, or that cannot be said now.
    """
    async with aclosing(console.live.view()) as pieces:
        async for piece in pieces:
            console.gateway.check(who)
            yield piece


@router.get("/console/data/request")
async def request_story(request: Request) -> Response:
    """All that is known of the requests of the name ``id``, which may have any visible character."""
    asked = GetRequestRequest(request_id=request.query_params.get("id", ""))
    found = await _console(request).view.get_request(asked)
    away = [f"{each.name} ({each.why})" for each in found.unanswered]
    now = time.time()
    return _json({"records": [story(each, now) for each in found.records], "unanswered": away})


@router.post("/console/data/contract")
async def contract(request: Request) -> Response:
    """What a body of POST /v1/chat/completions is in the contract, and where that is spoken."""
    console = _console(request)

    def translated(body: ChatCompletionRequest, _: object) -> Any:
        plan = chat.plan(body, request_id_of(request.scope), 0)
        made = MessageToDict(plan.parts[0].request, preserving_proto_field_name=True)
        made.pop("request_id", None)  # each request has its own
        return made

    intake = request.app.state.intake
    made = await read_body(request, intake, ChatCompletionRequest, MOST_BODY_BYTES, translated)
    return _json({"request": made, "grpc": console.grpc})


@router.get("/console/data/keys")
async def keys(request: Request) -> Response:
    """The keys, what they used, and the limits of tenants and models."""
    desk = _console(request).keys
    return _json({"on": False} if desk is None else {"on": True, **await desk.listed()})


@router.post("/console/data/keys")
async def create_key(request: Request) -> Response:
    """Make a key; the answer is the only place where all of it is told."""
    desk = _key_desk(request)
    intake = request.app.state.intake
    wanted = await read_body(request, intake, NewKey, MOST_BODY_BYTES, lambda body, _: body)
    return _json(await desk.create(wanted, identity_of(request.scope)))


@router.put("/console/data/keys/limits")
async def lay_down_limits(request: Request) -> Response:
    """Put limits in the place of those that a key, a tenant or a model had."""
    desk = _key_desk(request)
    intake = request.app.state.intake
    wanted = await read_body(request, intake, LaidDown, MOST_BODY_BYTES, lambda body, _: body)
    return _json(await desk.lay_down(wanted, identity_of(request.scope)))


@router.delete("/console/data/keys/limits")
async def lift_limits(
    request: Request, kind: LimitedKind, name: Annotated[str, Query(min_length=1, max_length=512)]
) -> Response:
    """Take the limits of a key, a tenant or a model away."""
    return _json(await _key_desk(request).lift(kind, name, identity_of(request.scope)))


@router.delete("/console/data/keys/{key_id}")
async def revoke_key(request: Request, key_id: str) -> Response:
    """Take a key back."""
    return _json(await _key_desk(request).revoke(key_id, identity_of(request.scope)))


@router.get("/console/{name}")
async def asset(request: Request, name: str) -> Response:
    """One of the page's files."""
    found = assets().get(name)
    if found is None:
        raise InferloomError(Reason.NOT_FOUND, f"Not found: GET /console/{shown(name)}.")
    if found.held(request.headers.get("if-none-match", "")):
        return Response(None, 304, found.headers)
    return Response(found.body, 200, found.headers, media_type=found.media_type)


def _key_desk(request: Request) -> KeyDesk:
    desk = _console(request).keys
    if desk is None:
        raise InferloomError(Reason.UNIMPLEMENTED, "This gateway asks for no keys, so it has none to manage.")
    return desk
