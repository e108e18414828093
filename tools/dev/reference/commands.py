"""Every command of the command line as a page."""

from collections.abc import Iterator
from typing import Any

import typer

from inferloom_cli.main import app

_ABOUT = """# Commands

*Made by `make protos` of the command line; `inferloom COMMAND --help` says the same.*

Exit status: 0 for a good end, 1 for a failure, 2 for wrong use, 130 after Ctrl-C. `NO_COLOR` in the
environment takes colours away, and `inferloom --install-completion` teaches bash, zsh or fish the commands.
"""


def page() -> str:
    """The page, as Markdown."""
    root: Any = typer.main.get_command(app)
    lines = [_ABOUT]
    for name, command in root.commands.items():
        lines += _command(f"inferloom {name}", command, level=2)
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: Any, level: int) -> Iterator[str]:
    with command.make_context(name, ["x"], resilient_parsing=True) as context:
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        params = [each for each in command.get_params(context) if each.name != "help"]
    yield from (f"{'#' * level} {name}", "", (command.help or "").strip(), "")
    children = getattr(command, "commands", {})
    if not children:
        yield from ("```text", usage, "```", "")
    options = [each for each in params if each.param_type_name == "option" and not each.hidden]
    arguments = [each for each in params if each.param_type_name == "argument"]
    if options or arguments:
        yield from ("| | |", "| --- | --- |")
    for each in arguments:
        yield f"| `{each.metavar or each.name.upper()}` | {_cell(each.help)} |"
    for each in options:
        yield f"| {_spelled(each)} | {_cell(each.help)} |"
    yield ""
    for child, made in children.items():
        yield from _command(f"{name} {child}", made, level + 1)


def _spelled(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or not option.metavar else f" `{option.metavar}`"
    return f"{names}{value}".replace("|", "\\|")


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
