"""One request and its response, as the layers of the stack see them."""

import time
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Scope

from inferloom_gateway.access.identity import ANONYMOUS, Identity
from inferloom_gateway.calls.records import Record
from inferloom_mesh.access_line import Door
from inferloom_mesh.errors import Reason
from inferloom_mesh.trace_context import OpenSpan

RawHeaders = list[tuple[bytes, bytes]]

KEY = "inferloom.exchange"


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

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        return Headers(raw=self.raw_headers)


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
