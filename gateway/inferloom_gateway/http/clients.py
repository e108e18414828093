"""The layer that says where a request comes from, and lets in who may call from there."""

from collections.abc import Sequence

from fastapi import Response

from inferloom_gateway.http.exchange import Exchange
from inferloom_gateway.http.stack import Layer
from inferloom_mesh.audit import Audit
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.networks import Network, address_of, check_allowed, client_behind


class Clients(Layer):
    """Puts the address of who sent a request in the place of the proxy's that passed it on.

    Args:
        trusted: Where our proxies are. What others say of addresses is not read.
        header: The header that they write; a client may write the other one.
        allowed: Networks that callers must be in; none: any.
        audit: Is told of whom is not let in.
    """

    def __init__(
        self, trusted: Sequence[Network], header: str, allowed: Sequence[Network], audit: Audit | None = None
    ) -> None:
        self._trusted = tuple(trusted)
        self._header = header.encode()
        self._allowed = tuple(allowed)
        self._audit = audit

    def begin(self, exchange: Exchange) -> Response | None:
        """Find out where a request comes from.

        Raises:
            InferloomError: Nobody may call from there.
        """
        peer = exchange.client[0] if exchange.client is not None else ""
        client = peer
        if self._trusted:
            named = [value.decode("latin-1") for name, value in exchange.raw_headers if name == self._header]
            client = client_behind(peer, named, self._trusted, standard=self._header == b"forwarded")
        if client != peer:
            exchange.client = (client, 0)
        try:
            check_allowed(address_of(client), self._allowed)
        except InferloomError as refusal:
            if self._audit is not None:
                self._audit.refused(f"{exchange.method} {exchange.path}", client, refusal)
            raise
        return None
