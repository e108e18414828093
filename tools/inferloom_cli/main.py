"""The `inferloom` command: its help, and its commands by panel."""

from collections.abc import Callable
from typing import Annotated

import typer

from inferloom_cli.commands import bench, certs, keys, looking, operating, services, up, using
from inferloom_cli.helpful import Command, Commands

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run": (up.up, services.registry, services.worker, services.gateway),
    "Look": (looking.ps, looking.top, looking.models, looking.explain, looking.logs, looking.doctor),
    "Operate": (operating.load, operating.unload, operating.drain),
    "Use": (using.run, using.chat, using.embed, using.pull, bench.bench),
}

app = typer.Typer(
    help="A gRPC-backed inference mesh with an OpenAI-compatible REST façade.\n\n"
    "Talk to a model at once with `inferloom run`, or start everything here with `inferloom up`.\n\n"
    "Settings come from flags, then INFERLOOM_… variables, then inferloom.toml.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"inferloom {version('inferloom')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    pass


for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(cls=Command, rich_help_panel=_panel)(_command)
app.add_typer(keys.app, name="keys", rich_help_panel="Operate")
app.add_typer(certs.app, name="certs", rich_help_panel="Operate")
