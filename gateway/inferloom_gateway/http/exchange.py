"""One request and its response, as the layers of the stack see them."""

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

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
    worker: str = ""
    """The worker that answers; of several, their names with commas."""
    status: int | None = None
    """None until the response begins."""

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        return Headers(raw=self.raw_headers)


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that ``scope`` belongs to."""
    exchange: Exchange = scope[KEY]
    return exchange


def request_id_of(scope: Scope) -> str:
    """The name of the request that ``scope`` belongs to."""
    return exchange_of(scope).request_id
