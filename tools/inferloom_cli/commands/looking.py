"""The commands that look at a mesh."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from inferloom_cli.options import ApiKey, AsJson, Gateway, Registry


def ps(
    registry: Registry = None,
    as_json: AsJson = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            "-w",
            help="Keep the table up to date on a terminal; with --json, print a line for each change.",
        ),
    ] = False,
) -> None:
    """Show the workers: where they are, what they hold, how busy they are, and their leases."""
    from inferloom_cli import ps as view
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_peer
    from inferloom_cli.settings import load

    settings = load(ClientSettings, registry=registry)
    show = view.watch if watch else view.show
    asyncio.run(show(settings.registry, as_json=as_json, shown=of_peer(settings)))


def top(
    gateway: Gateway = None,
    registry: Registry = None,
    api_key: ApiKey = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch the mesh: gateways, workers and models, what they do now, and what happened lately.

    `q` leaves. Where the output is no terminal it is shown once. With --json a line is printed for each
    change, or with --once one object. Where the gateway asks for keys, the key needs the endpoint
    `operating`; else the mesh's secret or an operator's certificate (`INFERLOOM_TLS`) is shown.
    """
    from inferloom_cli import top as view
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.settings import load

    settings = load(ClientSettings, gateway=gateway, registry=registry)
    asyncio.run(view.top(settings, api_key, once=once, as_json=as_json))


def explain(
    request_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="The request's name: `x-request-id`, or `request_id` in a log."),
    ],
    gateway: Gateway = None,
    registry: Registry = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Tell one request's story: who asked, which workers were considered and tried, and where its time went.

    Any gateway knows the requests of all. Each of their processes remembers the last 1000 that ended
    (`request_records`). Prompts and answers are in none of it.
    """
    from inferloom_cli import explain as view
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.settings import load

    settings = load(ClientSettings, gateway=gateway, registry=registry)
    asyncio.run(view.explain(settings, api_key, request_id, as_json=as_json))


def models(
    gateway: Gateway = None, registry: Registry = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show the models that can be called, and how many workers hold each."""
    from inferloom_cli import models as view
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_caller, of_peer
    from inferloom_cli.settings import load

    settings = load(ClientSettings, gateway=gateway, registry=registry)
    shown, peer = of_caller(settings, api_key), of_peer(settings)
    asyncio.run(view.show(settings.gateway, settings.registry, as_json=as_json, shown=shown, peer=peer))


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written next.")] = False,
    request: Annotated[
        str | None, typer.Option("--request", "-r", metavar="ID", help="Only the lines of one request.")
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service", "-s", metavar="NAME", help="gateway, registry, worker-1, …; repeat it for more."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: `10m`, `2h`, or `2026-01-31 10:00`.")
    ] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="A run's folder. [default: the last run of `inferloom up`]"
        ),
    ] = None,
) -> None:
    """Show what the services of this machine's `inferloom up` have logged, by time.

    The gateway and the worker each write a line for a request, under the name that the response's header
    `x-request-id` has.

    Examples:

    ```
    inferloom logs -f
    inferloom logs --request 3f0c8a3b2a0d4bd1b2c9a001 --since 10m
    ```
    """
    from inferloom_cli import logs as view

    view.show(log_dir, service or (), request, since, follow=follow)


def doctor(
    alone: Annotated[
        bool, typer.Option("--alone", help="Only this machine and its settings, and no mesh.")
    ] = False,
    registry: Registry = None,
    gateway: Gateway = None,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with this machine and the mesh, and say what mends it.

    Its exit status is 1 where something does not work.
    """
    from inferloom_cli.doctor import doctor as work
    from inferloom_cli.doctor.finding import Level
    from inferloom_cli.refusal import RefusedError

    findings = list(work.examine(registry, gateway, alone=alone))
    work.tell(findings, as_json=as_json)
    if any(each.level is Level.FAULT for each in findings):
        raise RefusedError(work.verdict(findings))
