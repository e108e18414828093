"""The commands that change a running mesh."""

import asyncio
from typing import Annotated

import typer

from inferloom_cli.options import Registry


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="Its name, as `inferloom ps` shows it.")],
    limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=86400,
            help="Longest that running requests may take. [default: the worker's own drain limit]",
        ),
    ] = None,
    registry: Registry = None,
) -> None:
    """Let a worker finish what it has, while new requests go to others, and wait until it has.

    The process stays, for whoever runs it to stop; it takes no requests any more.
    """
    from inferloom_cli import drain as work
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_peer
    from inferloom_cli.settings import load

    settings = load(ClientSettings, registry=registry)
    asyncio.run(work.drain(settings.registry, worker, limit, of_peer(settings)))


def unload(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model id, as `inferloom models` shows it.")],
    worker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only from this worker. [default: from all]")
    ] = None,
    registry: Registry = None,
) -> None:
    """Take a model off the workers that hold it, once its running requests have ended.

    Its adapters and aliases go with it; of an alias only the name goes. A worker that is started anew loads
    what it was started with.
    """
    from inferloom_cli import unload as work
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_peer
    from inferloom_cli.settings import load

    settings = load(ClientSettings, registry=registry)
    asyncio.run(work.unload(settings.registry, model, worker, of_peer(settings)))
