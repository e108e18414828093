"""The layer that names requests, and tells who answered them."""

from urllib.parse import quote

from fastapi import Response

from inferloom_gateway.http.exchange import Exchange, RawHeaders
from inferloom_gateway.http.stack import Layer
from inferloom_mesh.request_id import HEADER, is_request_id, new_request_id

NOTES_HEADER = "x-inferloom-notes"
WORKER_HEADER = "x-inferloom-worker"

_REQUEST_ID = HEADER.encode()
_NOTES = NOTES_HEADER.encode()
_WORKER = WORKER_HEADER.encode()


class Naming(Layer):
    """Names each request, by its caller's own name if that is 1 to 128 visible ASCII characters."""

    def begin(self, exchange: Exchange) -> Response | None:
        """Give the exchange its name."""
        given = next((value for name, value in exchange.raw_headers if name == _REQUEST_ID), b"")
        name = given.decode("latin-1")
        exchange.request_id = name if is_request_id(name) else new_request_id()
        return None

    def head(self, exchange: Exchange, headers: RawHeaders) -> None:
        """Send the name with the response, the worker's, and what is not done of the request."""
        headers.append((_REQUEST_ID, exchange.request_id.encode()))
        if exchange.notes:
            headers.append((_NOTES, quote(exchange.notes, safe=" '(),.:;").encode()))
        if exchange.worker:
            headers.append((_WORKER, exchange.worker.encode("latin-1", "replace")))
