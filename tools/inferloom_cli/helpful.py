"""Typer's commands with two habits of ours: flags are shown without a value, and near misses are told."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

ELSEWHERE = {
    "serve": "`inferloom up` serves models on this machine, `inferloom worker` and `gateway` are its parts",
    "start": "`inferloom up` starts everything on this machine",
    "stop": "Ctrl-C, or SIGTERM to the process, stops what `inferloom up` started",
    "down": "Ctrl-C, or SIGTERM to the process, stops what `inferloom up` started",
    "generate": "`inferloom chat -m TEXT` asks once, `inferloom chat` talks",
    "rm": "`inferloom unload` takes a model off the workers that hold it",
    "list": "`inferloom models` lists what can be called, `inferloom ps` the workers",
    "ls": "`inferloom models` lists what can be called, `inferloom ps` the workers",
    "status": "`inferloom ps` shows the workers and their load",
    "help": "`inferloom --help` lists the commands, `inferloom COMMAND --help` explains one",
    "version": "`inferloom --version` prints it",
}
"""What other tools call things, and how they are done here."""


class _BareFlags:
    """A flag is shown as ``--json``, not as if it took a value."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, for parsing and for help."""
        params = super().get_params(ctx)  # type: ignore[misc] # mixed into a command
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params


class Command(_BareFlags, TyperCommand):
    """One command."""


class Commands(_BareFlags, TyperGroup):
    """All of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed; a name that other tools have is answered with ours."""
        if args and args[0] in ELSEWHERE and args[0] not in self.commands:
            ctx.fail(f"There is no command {args[0]!r}: {ELSEWHERE[args[0]]}.")
        return super().resolve_command(ctx, args)
