"""One gateway as several processes that share its ports, under one parent that takes no requests itself."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from inferloom_cli.plan import CLI
from inferloom_cli.runmesh.children import Lifeline
from inferloom_cli.runmesh.handing import handed
from inferloom_cli.runmesh.keeper import Keeper
from inferloom_cli.runmesh.logs import Tail
from inferloom_cli.runmesh.readiness import Report
from inferloom_cli.terminal import harmless
from inferloom_gateway.access.limits.local_counts import make_shared
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.listening import reserve
from inferloom_mesh.metrics_listener import metrics_at
from inferloom_mesh.metrics_reports import Reports
from inferloom_mesh.net import Address
from inferloom_mesh.waiting import first_of

log = logging.getLogger(__name__)

_MARGIN_S = 3.0
"""How much longer than their own drain limit the processes get; ``inferloom up`` allows more."""


async def keep(
    settings: GatewaySettings, stop: asyncio.Event, on_ready: Callable[[Address, Address], None]
) -> None:
    """Keep the gateway's processes running until ``stop`` is set, then drain them all.

    Each follows the registry by itself, and the system deals new connections out among them. One that ends
    unasked is started again; meanwhile the others answer.

    Args:
        settings: The gateway's settings.
        stop: Ends it.
        on_ready: Told where REST and gRPC listen, once every process is ready.

    Raises:
        OSError: An address cannot be listened on.
        GaveUpError: A process cannot be kept running; the others have been stopped.
    """
    chosen = "gateway_metrics_listen" in settings.model_fields_set
    reports = Reports()
    async with AsyncExitStack() as stack:
        rest = stack.enter_context(closing(reserve(settings.gateway_listen)))
        grpc = stack.enter_context(closing(reserve(settings.gateway_grpc_listen)))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="inferloom-")))
        socket, counts = folder / "metrics", None
        if settings.keys is not None:
            make_shared(counts := folder / "counts")
        await reports.listen(socket)
        stack.callback(reports.close)
        await stack.enter_async_context(
            metrics_at(settings.gateway_metrics_listen, reports.read, chosen=chosen)
        )
        at = (
            Address(settings.gateway_listen.host, rest.getsockname()[1]),
            Address(settings.gateway_grpc_listen.host, grpc.getsockname()[1]),
        )
        given = handed(settings, *at, socket, counts)
        keepers = [
            Keeper(
                f"gateway-{seat + 1}",
                partial(_command, seat),
                Tail(),
                _pass_on,
                log.warning,
                _nothing,
                given=given,
            )
            for seat in range(settings.gateway_processes)
        ]
        lifeline = Lifeline()
        running: list[asyncio.Task[object]] = [keeper.start(lifeline) for keeper in keepers]
        stopped: asyncio.Task[object] = asyncio.create_task(stop.wait())
        ready: asyncio.Task[object] = asyncio.create_task(_all_ready(keepers))
        try:
            await first_of(stopped, ready, failing=running)
            if ready.done():
                on_ready(*at)
                await first_of(stopped, failing=running)
        finally:
            stopped.cancel()
            ready.cancel()
            limit = settings.drain_delay_s + settings.drain_limit_s + _MARGIN_S
            await asyncio.gather(*(keeper.stop(limit) for keeper in keepers))
            lifeline.close()


def _command(seat: int, report: Report | None) -> Sequence[str]:
    """One process; what it is to do it reads from its standard input."""
    return (*CLI, "gateway", "--seat", str(seat))


async def _all_ready(keepers: Sequence[Keeper]) -> None:
    for keeper in keepers:
        await keeper.was_ready.wait()


def _pass_on(name: str, line: str, level: int) -> None:
    print(harmless(line) if sys.stderr.isatty() else line, file=sys.stderr)


def _nothing() -> None:
    """Readiness is awaited, and a return is told as news."""
