"""One request and its response, as the layers of the stack see them."""

import time
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from inferloom_gateway.access.identity import ANONYMOUS, Identity
from inferloom_gateway.calls.records import Record
from inferloom_mesh.access_line import Door
from inferloom_mesh.errors import Reason
from inferloom_mesh.trace_context import OpenSpan

RawHeaders = list[tuple[bytes, bytes]]

KEY = "inferloom.exchange"


class RequestHeaders(Headers):
    """Headers that are found by their names, most of which are not there, without going through all each
    time."""

    def __init__(self, raw: RawHeaders) -> None:
        super().__init__(raw=raw)
        self._first = dict(reversed(raw))

    def __getitem__(self, key: str) -> str:
        """The first header of a name."""
        found = self._first.get(key.lower().encode("latin-1"))
        if found is None:
            raise KeyError(key)
        return found.decode("latin-1")

    def get(self, key: str, default: Any = None) -> Any:
        """The same, or ``default``: the base's own makes an exception of one that is not there."""
        found = self._first.get(key.lower().encode("latin-1"))
        return default if found is None else found.decode("latin-1")

    def __contains__(self, key: object) -> bool:
        """Whether there is one of a name."""
        return isinstance(key, str) and key.lower().encode("latin-1") in self._first

    def getlist(self, key: str) -> list[str]:
        """All of a name."""
        return super().getlist(key) if key in self else []


@dataclass(slots=True)
class Exchange:
    """What is known of a request; more of it as the response is made.

    It does not hold the scope that holds it, so that no collector of garbage is needed to free it.
    """

    method: str
    """As the client sent it, in capitals."""
    path: str
    """Percent-decoded, with single slashes."""
    client: tuple[str, int] | None
    raw_headers: RawHeaders
    request_id: str = ""
    identity: Identity = ANONYMOUS
    limits: RawHeaders = field(default_factory=list)
    """How its sender stands with his limits, where it was refused before anything was made of it."""
    notes: str = ""
    """What of the request is not done although it was accepted."""
    priority_cap: int | None = None
    """The highest scheduling priority that it may have; None: any."""
    silence_s: float | None = None
    """For how long its stream may tell nothing of its answer; None: for any time."""
    worker: str = ""
    """The worker that answers; of several, their names with commas."""
    status: int | None = None
    """None until the response begins."""
    began: float = field(default_factory=time.monotonic)
    record: Record | None = None
    """What is known of it as a request to workers; None: it has not come to that."""
    error: Reason | None = None
    """What the response said that went wrong."""
    trace: OpenSpan | None = None
    """Its span, where it is traced."""
    left: bool = False
    """Whether the client went before the response's end."""
    door: Door = "rest"
    """Through which it came: the REST façade, or the contract's by ``connect`` or ``grpc-web``."""
    _headers: RequestHeaders | None = None

    @property
    def headers(self) -> RequestHeaders:
        """The request's headers."""
        if self._headers is None:
            self._headers = RequestHeaders(self.raw_headers)
        return self._headers


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that ``scope`` belongs to."""
    exchange: Exchange = scope[KEY]
    return exchange


def identity_of(scope: Scope) -> Identity:
    """Who sent the request that ``scope`` belongs to."""
    return exchange_of(scope).identity


def request_id_of(scope: Scope) -> str:
    """The name of the request that ``scope`` belongs to."""
    return exchange_of(scope).request_id
