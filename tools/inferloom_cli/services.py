"""The three services as processes: ``inferloom registry``, ``worker`` and ``gateway``."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from inferloom_cli.exposure import check_gateway, check_service, exposed, warning
from inferloom_cli.ports import require_apart
from inferloom_cli.refusal import RefusedError, needs
from inferloom_cli.runmesh.keeper import GaveUpError
from inferloom_cli.runmesh.readiness import Report, announce
from inferloom_cli.settings import load
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.log_writer import configure_logging
from inferloom_mesh.net import Address
from inferloom_mesh.runtime import LIFELINE_VARIABLE, run_service, settle
from inferloom_mesh.settings import ServiceSettings

log = logging.getLogger(__name__)


def registry(ready_file: Path | None, **flags: object) -> None:
    """Run the registry until it is told to stop."""
    with needs("registry"):
        from inferloom_registry.service import serve
        from inferloom_registry.settings import RegistrySettings
    settings = load(RegistrySettings, **flags)

    _run(
        settings,
        [settings.registry_listen],
        partial(check_service, encrypted=settings.encrypted),
        lambda stop: serve(settings, stop, lambda address: _ready({"address": str(address)}, ready_file)),
    )


def worker(ready_file: Path | None, **flags: object) -> None:
    """Run a worker until it is told to stop."""
    with needs("worker"):
        from inferloom_worker.joining.lease import FencedError, RegistrationRefusedError
        from inferloom_worker.service import BrokenError, serve
        from inferloom_worker.settings import WorkerSettings
        from inferloom_worker.sourcing.sources import SourceError
    settings = load(WorkerSettings, **flags)

    with needs("worker"):  # an engine's libraries are imported when its first model is loaded
        _run(
            settings,
            [settings.worker_listen],
            partial(check_service, encrypted=settings.encrypted),
            lambda stop: serve(settings, stop, lambda address: _ready({"address": str(address)}, ready_file)),
            InferloomError,
            SourceError,
            FencedError,
            RegistrationRefusedError,
            BrokenError,
        )


def gateway(ready_file: Path | None, seat: int | None, **flags: object) -> None:
    """Run the gateway, in one process or several, until it is told to stop; ``seat`` is given to each of
    several by the one that hands it its settings."""
    with needs("gateway"):
        from inferloom_cli.runmesh.handing import taken
        from inferloom_cli.runmesh.siblings import keep
        from inferloom_gateway.service import serve
        from inferloom_gateway.settings import GatewaySettings
    settings = load(GatewaySettings, **flags) if seat is None else taken(seat, sys.stdin.buffer.read())

    def ready(rest: Address, grpc: Address) -> None:
        _ready({"rest": str(rest), "grpc": str(grpc)}, ready_file)

    doors = settings.gateway_listen, settings.gateway_grpc_listen
    require_apart([*doors, settings.gateway_peer_listen])
    run = keep if settings.gateway_processes > 1 and settings.seat is None else serve
    _run(
        settings,
        [*doors, settings.gateway_peer_listen],
        lambda _: check_gateway(*doors, settings),
        lambda stop: run(settings, stop, ready),
        GaveUpError,
    )


def _ready(report: Report, file: Path | None) -> None:
    settle()
    announce(report, file)


def _run(
    settings: ServiceSettings,
    listening: Sequence[Address | None],
    check: Callable[[Sequence[Address | None]], None],
    serve: Callable[[asyncio.Event], Awaitable[None]],
    *refusals: type[Exception],
) -> None:
    """Run a service that listens on ``listening``, if ``check`` says nothing against it; OSError and
    ``refusals`` carry messages for people."""
    readable: tuple[type[Exception], ...] = (OSError, *refusals)
    supervised = LIFELINE_VARIABLE in os.environ  # `up` has said it of all services
    configure_logging(settings.log_level, settings.log_format)
    if (beyond := exposed(listening)) and not supervised:
        if not settings.insecure:
            check(listening)
        if words := warning(beyond, guarded=settings.asks_who_calls, encrypted=settings.encrypted):
            log.warning(words)
    try:
        stopped_by = run_service(serve)
    except readable as failure:
        raise RefusedError(str(failure)) from failure
    if stopped_by is signal.SIGINT:
        sys.exit(130)
