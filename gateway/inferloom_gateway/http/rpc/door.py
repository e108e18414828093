"""The native contract's door on the REST port."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import orjson
from fastapi import Request, Response
from google.protobuf.message import Message
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from inferloom_gateway.contract.method import Method
from inferloom_gateway.contract.service import Call, Caller, Events, Service
from inferloom_gateway.http import errors
from inferloom_gateway.http.caller import trace_of
from inferloom_gateway.http.disconnect import AbortOnDisconnect, ClientDisconnectedError
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.request_bytes import take_in
from inferloom_gateway.http.rpc import connect
from inferloom_gateway.http.rpc.negotiation import media_types, verbs, wire_of
from inferloom_gateway.http.rpc.response import MessageStream
from inferloom_gateway.http.rpc.wire import Raw, Wire
from inferloom_gateway.streams.asking import HEADER
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.interceptor import told
from inferloom_mesh.request_id import is_request_id


class ContractDoor:
    """Answers calls of services by Connect and gRPC-Web, and leaves everything else to an application.

    Args:
        app: Answers everything else.
        services: Their methods are at ``/full.name.of.Service/Method``.
        intake: Reads large bodies, and makes large answers.
        limit: Bytes of a body, and of a message, at most.
    """

    def __init__(self, app: ASGIApp, services: Iterable[Service], intake: Intake, limit: int) -> None:
        self._app = app
        self._methods = {each.path: (service, each) for service in services for each in service.methods}
        self._intake = intake
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        found = self._methods.get(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        service, method = found
        wire = _wire(scope, method)
        if not isinstance(wire, Wire):
            await wire(scope, receive, send)
            return
        exchange_of(scope).door = wire.door
        try:
            response = await self._answer(service, method, wire, Request(scope, receive))
            await response(scope, receive, send)  # a stream that cannot begin fails here, with nothing sent
        except ClientDisconnectedError:
            await errors.nobody_waits()(scope, receive, send)
        except Exception as failure:
            await _refused(wire, told(failure, method.path))(scope, receive, send)

    def refusal(self, scope: Scope, error: InferloomError) -> ASGIApp:
        """The response to a request that was refused before it came here, in the words of its protocol."""
        found = self._methods.get(scope["path"])
        wire = None if found is None else _wire(scope, found[1])
        return _refused(wire, error) if isinstance(wire, Wire) else errors.response(error)

    async def _answer(self, service: Service, method: Method, wire: Wire, request: Request) -> Response:
        time_left = wire.time_left()

        def read(raw: Raw) -> Any:
            return wire.codec.decode(wire.message(raw, self._limit), method.request)

        message = await take_in(request, self._intake, self._limit, read, quick=wire.quick)
        exchange, headers = exchange_of(request.scope), request.headers

        def begin() -> Call:
            client = request.client
            caller = Caller(
                f"{client.host}:{client.port}" if client is not None else "",
                exchange.identity,
                exchange.request_id,
                time_left,
                trace_of(exchange),
                headers.get(HEADER),
            )
            call = service.begin(method, message, caller)
            if (record := call.record) is not None:
                exchange.record = record
                if is_request_id(record.context.request_id):
                    exchange.request_id = record.context.request_id
            return call

        def accepted() -> None:
            if exchange.record is not None:
                exchange.worker = exchange.record.answered_by

        async def open_all(stack: ExitStack) -> AsyncGenerator[bytes, None]:
            call = stack.enter_context(begin())
            events = await call.events()
            accepted()
            response.headers.update(call.headers)
            return self._frames(events, wire)

        if method.streams:
            response = MessageStream(open_all, wire)
            return response
        async with AbortOnDisconnect(request.receive):
            with begin() as call:
                answer = await call.answer()
                accepted()
                body = wire.whole(await self._bytes(wire, answer))
        return Response(body, headers={"content-type": wire.media_type})

    async def _frames(self, events: Events, wire: Wire) -> AsyncGenerator[bytes, None]:
        while (event := await events.read()) is not None:
            yield wire.frame(await self._bytes(wire, event))

    async def _bytes(self, wire: Wire, message: Message) -> bytes:
        """A message in its form; large ones are made on the intake's thread."""
        codec = wire.codec
        if message.ByteSize() < codec.quick:
            return codec.encode(message)
        return await self._intake.run(lambda: codec.encode(message))


def _wire(scope: Scope, method: Method) -> Wire | Response:
    """The protocol of a request, or the response to one that speaks none."""
    try:
        return wire_of(method, scope["method"], scope["query_string"].decode("latin-1"), Headers(scope=scope))
    except InferloomError as failure:
        headers = {"allow": ", ".join(verbs(method)), "accept-post": media_types(method)}
        return _Refused(failure, failure.row.http, headers, orjson.dumps(connect.described(failure)))


def _refused(wire: Wire, error: InferloomError) -> Response:
    return _Refused(error, *wire.refusal(error))


class _Refused(Response):
    """Tells that a call failed before any message; its exchange knows of it too."""

    media_type = "application/json"

    def __init__(self, error: InferloomError, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(body, status, headers)
        self._reason = error.reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange_of(scope).error = self._reason
        await super().__call__(scope, receive, send)
