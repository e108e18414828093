"""``inferloom run``: a model fetched, served while somebody talks to it, and talked to."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from inferloom_cli.calls import calling
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import Credentials, of_caller
from inferloom_cli.display import Display
from inferloom_cli.mesh_report import MeshReport
from inferloom_cli.models import list_models
from inferloom_cli.planning import prepare
from inferloom_cli.probe import reachable
from inferloom_cli.refusal import RefusedError
from inferloom_cli.runmesh.background import running
from inferloom_cli.runmesh.keeper import GaveUpError
from inferloom_cli.up_flags import UpFlags
from inferloom_mesh.net import Address

Talk = Callable[[Address, str, Credentials], None]
"""Talks to a model of a gateway, and returns when that is over."""


def run(flags: UpFlags, api_key: str | None, settings: ClientSettings, talk: Talk) -> None:
    """Talk to a model: to the one that a running mesh serves under that name, otherwise in a mesh of its own
    that ends with the talk.

    Args:
        flags: How a mesh is started; its one model is that of a running mesh, or what is to be served.
        api_key: What a running gateway is shown.
        settings: Where a running one is looked for.
        talk: Does the talking.

    Raises:
        RefusedError: The model cannot be had or served.
    """
    shown = of_caller(settings, api_key)
    [wanted] = flags.models
    if wanted in _served(settings.gateway, shown):
        talk(settings.gateway, wanted, shown)
        return
    plan, _ = prepare(flags)
    if plan.door is not None:
        raise RefusedError("`inferloom run` serves this machine only; see `inferloom up --certs` for TLS")
    display = Quiet()
    with TemporaryDirectory(prefix="inferloom-run-") as folder:
        try:
            with running(plan, Path(folder), display) as mesh:
                [model] = plan.models
                peer = Credentials(security=replace(shown.security, secret=plan.secret))
                talk(reachable(Address.parse(mesh.grpc)), model, peer)
        except GaveUpError as failure:
            display.failed(str(failure), failure.tail)
            raise RefusedError(f"{wanted} cannot be served") from failure


def _served(gateway: Address, shown: Credentials) -> set[str]:
    """The models of a gateway that runs; none where there is no gateway, or it does not tell."""

    async def ask() -> set[str]:
        async with calling("gateway", gateway, shown) as channel:
            return {model.id for model in await list_models(channel)}

    try:
        return asyncio.run(ask())
    except RefusedError:
        return set()


class Quiet(Display):
    """Shows that something is being started, and what goes wrong."""

    def __init__(self) -> None:
        super().__init__(verbose=False, called=(Address("", 0), Address("", 0)))

    def ready(self, mesh: MeshReport) -> None:
        """Show nothing any more."""
        self._still()

    def line(self, name: str, line: str, level: int) -> None:
        """Leave it to the log: it would stand in the middle of an answer."""

    def stopping(self) -> None:
        """Say nothing: whoever left knows."""

    def stopped(self) -> None:
        """Say nothing."""
        self._still()

    def _arrived(self, name: str, seconds: float) -> None:
        """Say nothing: what is still waited for is shown."""
