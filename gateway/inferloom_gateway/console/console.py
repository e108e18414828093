"""The console's parts, put together: what its routes work on."""

from itertools import islice

from inferloom_gateway.console import mesh_rows, requests
from inferloom_gateway.console.elsewhere import Elsewhere
from inferloom_gateway.console.key_desk import KeyDesk
from inferloom_gateway.console.live import Live, Sections
from inferloom_gateway.console.own_host import is_own, own_hosts
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.picture.picture import Picture
from inferloom_gateway.picture.view import View

MOST_ROWS = 50
"""Requests that are shown of those that run, and of those that ended."""


class Console:
    """One gateway process's."""

    def __init__(self, gateway: Gateway, picture: Picture, view: View) -> None:
        self.gateway = gateway
        self.picture = picture
        self.view = view
        self._elsewhere = Elsewhere(view, picture)
        self.live = Live(self.look, gateway.stopping, self._elsewhere.followed)
        audit, access = gateway.security.audit, gateway.access
        self.keys = None if access is None else KeyDesk(access, audit)
        """None: this gateway asks for no keys."""
        settings = gateway.settings
        guarded = access is not None or settings.encrypted
        self._hosts = None if guarded else own_hosts(settings.gateway_listen.host)
        """The names that it may be called by; None: a key or a certificate says who is who."""
        self.grpc = ""
        """Where the gRPC façade listens, once it does."""

    @property
    def served(self) -> bool:
        """Whether there is a page: it is wanted, and who looks is on this machine or shows a key."""
        settings = self.gateway.settings
        return settings.console and (settings.keys is not None or not settings.behind_proxy)

    def answers_to(self, host: str) -> bool:
        """Whether it tells its data to who calls the gateway by this Host."""
        return self._hosts is None or is_own(host, self._hosts)

    def look(self) -> Sections:
        """What the page shows now."""
        running = islice(self.picture.requests.running(), MOST_ROWS)
        shown = [*running, *self.gateway.records.last(MOST_ROWS)]
        rows = {**self._elsewhere.requests, **requests.rows(shown)}
        return {**mesh_rows.sections(self._elsewhere.mesh()), "requests": rows}
