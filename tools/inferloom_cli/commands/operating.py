"""The commands that change a running mesh."""

import asyncio
from typing import Annotated

import typer

from inferloom_cli.options import AsJson, OnWorkers, Registry


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
    as_json: AsJson = False,
) -> None:
    """Let a worker finish what it has, while new requests go to others, and wait until it has.

    The process stays, for whoever runs it to stop; it takes no requests any more.
    """
    from inferloom_cli import drain as work
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_peer
    from inferloom_cli.settings import load

    settings = load(ClientSettings, registry=registry)
    draining = work.drain(settings.registry, worker, limit, as_json=as_json, shown=of_peer(settings))
    asyncio.run(draining)


def load(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[NAME=]SPEC", help="Its name, and what it is: as `inferloom worker --model` takes it."
        ),
    ],
    adapts: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="It is a LoRA adapter, on this model. [default: a model itself]"),
    ] = None,
    worker: OnWorkers = None,
    registry: Registry = None,
    as_json: AsJson = False,
) -> None:
    """Load a model onto workers that run, beside what they serve.

    A path is one on the workers' machines. A worker that is started anew loads what it was started with.

    Examples:

    ```
    inferloom load chat=smollm2-135m-instruct
    inferloom load qwen=/models/qwen.gguf --worker worker-1
    inferloom load support=./support-lora --adapts chat
    ```
    """
    from inferloom_cli import load as work
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_peer
    from inferloom_cli.settings import load as read

    wanted = work.Wanted.read(model, adapts)
    settings = read(ClientSettings, registry=registry)
    shown = of_peer(settings)
    asyncio.run(work.load(settings.registry, wanted, worker or (), as_json=as_json, shown=shown))


def unload(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model id, as `inferloom models` shows it.")],
    worker: OnWorkers = None,
    registry: Registry = None,
    as_json: AsJson = False,
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
    shown = of_peer(settings)
    asyncio.run(work.unload(settings.registry, model, worker or (), as_json=as_json, shown=shown))
