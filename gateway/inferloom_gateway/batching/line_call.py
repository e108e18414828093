"""Asks for one line: the way of a request that comes over HTTP, without the connection."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import orjson
from starlette.types import ASGIApp, Message, Scope

from inferloom_gateway.access.access import Access
from inferloom_gateway.access.endpoints import of_path
from inferloom_gateway.access.following import STALE_S
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http import exchange
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.exchange import Exchange
from inferloom_mesh.errors import InferloomError, Reason

PRIORITY = -100
"""The highest scheduling priority of a line: whatever is asked for directly goes first."""


Ask = Callable[[str, bytes, Identity, str], Awaitable["Reply"]]
"""Answers a body that is posted to a path, by an identity, under a request's name."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it would have been sent."""

    status: int
    raw: bytes
    """Its JSON."""
    retry_after: float | None = None
    tried: bool = True
    """Whether a worker was asked, as far as is known."""

    @classmethod
    def failed(cls, error: InferloomError) -> Self:
        """An answer that tells of an error."""
        return cls(error.row.http, render(error), error.retry_after)

    @property
    def code(self) -> str | None:
        """The code of the error that it tells of."""
        if self.status < 400:
            return None
        code: str | None = orjson.loads(self.raw)["error"]["code"]
        return code


def asker(gateway: Gateway, app: ASGIApp) -> Ask:
    """Asks on behalf of who made a batch, as far as the key that was shown then still goes. One that is not
    known has its lines wait until it must be."""

    unknown: dict[str, float] = {}
    """Since when, by the ids of keys."""

    def recalled(access: Access, caller: Identity) -> Identity:
        now = gateway.clock()
        if access.knows(caller.key_id):
            unknown.pop(caller.key_id, None)
        elif now - unknown.setdefault(caller.key_id, now) <= STALE_S:  # made elsewhere just now
            message = f"The API key {caller.key_id} is not known here yet."
            raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=1.0)
        return access.recall(caller.tenant, caller.key_id)

    async def ask_as(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
        try:
            identity = caller
            if gateway.access is not None:
                identity = recalled(gateway.access, caller)
            identity.check_endpoint(of_path(path))
        except InferloomError as failure:
            return Reply.failed(failure)
        return await ask(app, path, body, identity, request_id)

    return ask_as


async def ask(app: ASGIApp, path: str, body: bytes, identity: Identity, request_id: str) -> Reply:
    """Post a body to a path, as ``identity`` whose key is not asked for again."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    seen = Exchange("POST", path, None, headers, identity=identity, priority_cap=PRIORITY)
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        exchange.KEY: seen,
    }
    incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status, retry_after, parts = 500, None, []

    async def receive() -> Message:
        if not incoming:
            await asyncio.Event().wait()  # nobody leaves
        return incoming.pop()

    async def send(message: Message) -> None:
        nonlocal status, retry_after
        if message["type"] == "http.response.start":
            status = message["status"]
            given = dict(message.get("headers", ())).get(b"retry-after")
            retry_after = float(given) if given is not None and given.isdigit() else None
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    tried = seen.record is None or bool(seen.record.attempts)
    return Reply(status, b"".join(parts), retry_after, tried)
