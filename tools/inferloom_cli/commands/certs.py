"""The commands about certificates: ``inferloom certs …``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from inferloom_cli.helpful import Command, Commands

app = typer.Typer(
    help="Make a small certificate authority for a mesh, and certificates for its services.\n\n"
    "Each service is started with `--tls` and the folder that was made for it.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The authority's folder.", file_okay=False, show_default=False)
]


@app.command(cls=Command)
def init(
    folder: Folder,
    name: Annotated[str, typer.Option(metavar="TEXT", help="What it is called.")] = "inferloom",
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long it holds.")] = 3650,
) -> None:
    """Make an authority: its certificate, which everybody may have, and its key, which nobody may.

    Examples:

    ```
    inferloom certs init mesh
    ```
    """
    from inferloom_cli import certs

    certs.init(folder, name, days)


@app.command(cls=Command)
def issue(
    folder: Folder,
    role: Annotated[
        Literal["registry", "worker", "gateway", "operator"],
        typer.Option(help="What its holder is.", show_default=False),
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its name; of a worker, that of --id. [default: the role]"),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="A name or address that callers reach it by, besides localhost; repeat it."
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it holds.")] = 365,
) -> None:
    """Make a key and a certificate for a service, or for whoever operates the mesh, in DIR/NAME.

    Examples:

    ```
    inferloom certs issue --role registry mesh
    inferloom certs issue --role worker --name w1 mesh
    inferloom certs issue --role gateway --host ai.example.com mesh
    inferloom certs issue --role operator --name anna mesh
    ```
    """
    from inferloom_cli import certs

    certs.issue(folder, role, name, host or (), days)


@app.command(cls=Command)
def renew(
    folder: Folder,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Whose, as its folder is called.", show_default=False)
    ],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it holds.")] = 365,
) -> None:
    """Make another certificate in DIR/NAME in the place of one that ends or has ended; the key stays.

    Examples:

    ```
    inferloom certs renew --name w1 mesh
    ```
    """
    from inferloom_cli import certs

    certs.renew(folder, name, days)


@app.command(cls=Command)
def token(
    folder: Folder,
    name: Annotated[str, typer.Option(metavar="NAME", help="The worker's, its --id.", show_default=False)],
    registry: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the registry is joined (registry_join_listen).",
            show_default=False,
        ),
    ],
    file: Annotated[
        Path,
        typer.Option("--file", "-o", metavar="FILE", help="Where to write it.", show_default=False),
    ],
    hours: Annotated[float, typer.Option(min=0.01, max=8760, help="How long it is good.")] = 24,
) -> None:
    """Make a token that one worker joins with, once, in the place of a certificate.

    Examples:

    ```
    inferloom certs token --name w2 --registry 10.0.0.5:7001 -o w2.token mesh
    ```
    """
    from inferloom_cli import certs

    certs.token(folder, name, registry, file, hours)
