"""The layers that ask who calls, and say how he stands with his limits."""

from fastapi import Response

from inferloom_gateway.access.access import Access
from inferloom_gateway.access.endpoints import computes, is_open, of_path
from inferloom_gateway.http.exchange import Exchange, RawHeaders
from inferloom_gateway.http.stack import Layer
from inferloom_mesh.audit import Audit
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.secret import KEY

_AUTHORIZATION = b"authorization"
_MESH = KEY.encode()


class Authentication(Layer):
    """Lets in who shows a key that opens the endpoint; to what is open, everybody."""

    def __init__(self, access: Access, audit: Audit | None = None) -> None:
        self._access = access
        self._audit = audit

    def begin(self, exchange: Exchange) -> Response | None:
        """Find out who calls.

        Raises:
            InferloomError: Nobody who may.
        """
        if is_open(exchange.path):
            return None
        authorizations, tokens = [], []
        for name, value in exchange.raw_headers:
            if name == _AUTHORIZATION:
                authorizations.append(value.decode("latin-1"))
            elif name == _MESH:
                tokens.append(value.decode("latin-1"))
        try:
            exchange.identity = self._access.identify(authorizations, tokens)
            exchange.identity.check_endpoint(of_path(exchange.path))
        except InferloomError as refusal:
            if self._audit is not None:
                who = exchange.identity.key_id or ":".join(map(str, exchange.client or ()))
                self._audit.refused(f"{exchange.method} {exchange.path}", who, refusal)
            raise
        return None


class Limits(Layer):
    """Refuses callers who have no requests left, and tells the others how they stand."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def begin(self, exchange: Exchange) -> Response | None:
        """Refuse at once, before a body is read, what would be refused afterwards.

        Raises:
            InferloomError: The caller is over his limit.
        """
        if not computes(exchange.method, exchange.path):
            return None
        if (closed := self._access.closed(exchange.identity)) is not None:
            refusal, exchange.limits = closed
            raise refusal
        return None

    def head(self, exchange: Exchange, headers: RawHeaders) -> None:
        """Tell how the caller stands, where his request was counted."""
        if exchange.record is not None and exchange.record.admission is not None:
            headers += exchange.record.admission.headers
        else:
            headers += exchange.limits
