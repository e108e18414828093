"""What ``inferloom up`` shows: what it waits for, what is ready, where, and what goes wrong."""

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

from inferloom_cli.curl import curl_line
from inferloom_cli.exports import export_line
from inferloom_cli.exposure import exposed, seen_from_outside, warning
from inferloom_cli.mesh_report import MeshReport
from inferloom_cli.probe import reachable
from inferloom_cli.terminal import terminal
from inferloom_mesh.net import Address

_STYLES = ("cyan", "green", "magenta", "blue", "yellow")


class Display:
    """Progress and log lines go to standard error, the ready panel to standard output.

    Args:
        verbose: Shows every log line, and not only warnings and worse.
        called: Where the other commands would look for the gateway's gRPC port and for the registry.
        keyed: Whether callers are asked for keys.
        door: Folder with the certificate of the gateway's doors. None: they do no TLS.
        console: Whether the gateway has a page for people.
        operator: Folder with an operator's certificate, where there is one to show.
        secret_file: Where the secret is that was made for this mesh; empty: none was.
    """

    def __init__(
        self,
        *,
        verbose: bool,
        called: tuple[Address, Address],
        keyed: bool = False,
        door: Path | None = None,
        console: bool = False,
        operator: Path | None = None,
        secret_file: str = "",
    ) -> None:
        self._console = terminal(stderr=True)
        self._out = terminal()
        self._least = logging.NOTSET if verbose else logging.WARNING
        self._status: Status | None = None
        self._waiting: list[str] = []
        self._called = called
        self._keyed = keyed
        self._door = door
        self._page = console
        self._operator = operator
        self._secret_file = secret_file

    def starting(self, names: Sequence[str]) -> None:
        """Show that these services are being started."""
        self._waiting = list(names)
        self._spin("starting " + ", ".join(names))

    def service_ready(self, name: str, seconds: float) -> None:
        """Show that one of them is ready; that one is so again, which ended meanwhile, is told as news."""
        if name not in self._waiting:
            return
        self._waiting.remove(name)
        self._arrived(name, seconds)
        self._spin("waiting for " + ", ".join(self._waiting or ["the first route"]), quiet=True)

    def ready(self, mesh: MeshReport) -> None:
        """Show what the mesh is and how to use it."""
        self._still()
        listens = Address.parse(mesh.rest)
        rest, grpc = reachable(listens), reachable(Address.parse(mesh.grpc))
        scheme = "http" if self._door is None else "https"
        table = Table.grid(padding=(0, 2))
        if (outside := seen_from_outside(listens)) != rest:
            elsewhere = f"{scheme}://{outside}/v1 (from other machines)"
        else:
            elsewhere = ""
        for name, value in (
            ("REST", "\n".join(filter(None, (f"{scheme}://{rest}/v1", elsewhere)))),
            *([("console", f"{scheme}://{rest}/console")] if self._page else []),
            ("gRPC", str(grpc)),
            ("registry", mesh.registry),
            ("workers", ", ".join(f"{worker.id} ({worker.address})" for worker in mesh.workers)),
            ("models", ", ".join(f"{model.id} ({', '.join(model.capabilities)})" for model in mesh.models)),
            ("logs", mesh.logs),
        ):
            table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
        beyond = exposed(Address.parse(address) for address in mesh.addresses)
        words = warning(beyond, guarded=self._keyed, encrypted=self._door is not None) if beyond else ""
        if words:
            table.add_row(Text("warning", style="bold yellow"), Text(words, style="yellow"))
        title = f"Inferloom is ready after {mesh.seconds:.1f} s"
        self._out.print(Panel(table, title=title, title_align="left", border_style="green", expand=False))
        if line := curl_line(rest, mesh.models, keyed=self._keyed, door=self._door):
            self._out.print("Try it:\n", style="bold")
            self._out.print(Text(line), soft_wrap=True)
            if self._keyed:
                made = "`inferloom keys create`, told the same --keys, makes one"
                self._out.print(f"\nINFERLOOM_API_KEY is to hold a key; {made}.")
        if line := export_line(
            grpc, reachable(Address.parse(mesh.registry)), self._called, self._secret_file, self._operator
        ):
            self._out.print("\nSo that the other commands find it:\n", style="bold")
            self._out.print(Text(line), soft_wrap=True)
        self._out.print("\nCtrl-C stops everything.")
        self._out.file.flush()  # a file or a pipe would keep it until the end

    def line(self, name: str, line: str, level: int) -> None:
        """Show a service's log line, if it matters enough."""
        if level >= self._least:
            style = _STYLES[sum(name.encode()) % len(_STYLES)]
            self._say(Text.assemble((f"{name} │ ", style), Text.from_ansi(line)))

    def news(self, sentence: str) -> None:
        """Show what happened to a service."""
        self._say(Text.assemble(("! ", "yellow"), sentence))

    def stopping(self) -> None:
        """Show that the mesh is being stopped."""
        self._spin("stopping: running requests may finish (Ctrl-C again ends them)")

    def stopped(self) -> None:
        """Show that nothing runs any more."""
        self._still()
        self._say(Text("stopped"))

    def failed(self, reason: str, tail: Sequence[str]) -> None:
        """Show why the mesh was given up, with the last lines of the service at fault."""
        self._still()
        for line in tail:
            self._say(Text(f"  {line}", style="dim"))
        self._say(Text.assemble(("✗ ", "red"), reason))

    def _arrived(self, name: str, seconds: float) -> None:
        self._say(Text.assemble(("✓ ", "green"), f"{name} is ready ({seconds:.1f} s)"))

    def _say(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def _spin(self, text: str, *, quiet: bool = False) -> None:
        """Keep ``text`` moving on a terminal; elsewhere say it once, unless it is quiet."""
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            self._status.update(text)
        elif not quiet:
            self._say(Text(text))

    def _still(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
