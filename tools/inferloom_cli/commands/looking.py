"""The commands that look at a mesh."""

import asyncio
from typing import Annotated

import typer

from inferloom_cli.options import AsJson, Gateway, Registry


def ps(
    registry: Registry = None,
    as_json: AsJson = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", help="Keep the table up to date; with --json, print a line for each change."
        ),
    ] = False,
) -> None:
    """Show the workers: where they are, what they hold, how busy they are, and their leases."""
    from inferloom_cli import ps as view
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.settings import load

    address = load(ClientSettings, registry=registry).registry
    show = view.watch if watch else view.show
    asyncio.run(show(address, as_json=as_json))


def models(gateway: Gateway = None, registry: Registry = None, as_json: AsJson = False) -> None:
    """Show the models that can be called, and how many workers hold each."""
    from inferloom_cli import models as view
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.settings import load

    settings = load(ClientSettings, gateway=gateway, registry=registry)
    asyncio.run(view.show(settings.gateway, settings.registry, as_json=as_json))
