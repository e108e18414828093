"""``inferloom up``: a whole mesh on this machine."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.display import Display
from inferloom_cli.mesh_report import MeshReport
from inferloom_cli.plan import Plan
from inferloom_cli.planning import prepare
from inferloom_cli.refusal import FAILED, writable
from inferloom_cli.runmesh.keeper import GaveUpError
from inferloom_cli.runmesh.logs import log_root, new_run_folder
from inferloom_cli.runmesh.readiness import write_atomically
from inferloom_cli.runmesh.supervisor import Supervisor
from inferloom_cli.settings import load
from inferloom_cli.signals import StopSignals
from inferloom_cli.up_flags import UpFlags
from inferloom_mesh.roles import Role

_SECRET, _SECRET_FILE = "INFERLOOM_MESH_SECRET", "INFERLOOM_MESH_SECRET_FILE"


def up(flags: UpFlags, began: float) -> None:
    """Run the mesh until it is told to stop, then end the program with its exit status.

    Args:
        flags: What was typed.
        began: When the command started, of ``time.monotonic``.

    Raises:
        RefusedError: The mesh cannot be started as it was asked for.
    """
    plan, drain_limit = prepare(flags)
    folder = _log_folder(flags.log_dir)
    if flags.ready_file is not None:
        with writable("the ready file", flags.ready_file, "choose another with --ready-file"):
            _try_to_write(flags.ready_file.parent)
    client = load(ClientSettings)
    with _secret_file(plan) as plan:
        display = Display(
            verbose=flags.verbose,
            called=(client.gateway, client.registry[0]),
            keyed=plan.keys is not None,
            door=plan.door,
            console=plan.console,
            operator=_operator(plan),
            secret_file=plan.environment.get(_SECRET_FILE, ""),
        )
        try:
            status = asyncio.run(_supervise(plan, folder, display, drain_limit, flags.ready_file, began))
        except GaveUpError as failure:
            display.failed(str(failure), failure.tail)
            status = FAILED
        finally:
            if flags.ready_file is not None:
                flags.ready_file.unlink(missing_ok=True)
    sys.exit(status)


@contextmanager
def _secret_file(plan: Plan) -> Iterator[Plan]:
    """Keep the secret that was made for this mesh in a file that only this user can read, until the block
    ends.

    The other commands, and workers that join, find it there.
    """
    if (secret := plan.environment.get(_SECRET)) is None:
        yield plan
        return
    with TemporaryDirectory(prefix="inferloom-") as folder:
        file = Path(folder) / "secret"
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "w") as output:
            output.write(secret)
        kept = {name: value for name, value in plan.environment.items() if name != _SECRET}
        yield replace(plan, environment={**kept, _SECRET_FILE: str(file)})


def _log_folder(wanted: Path | None) -> Path:
    """The folder for this run's logs, made and tried.

    Raises:
        RefusedError: Nothing can be written there.
    """
    run = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{os.getpid()}"
    with writable("logs", wanted or log_root(), "choose a folder with --log-dir"):
        folder = wanted or new_run_folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        _try_to_write(folder)
    return folder


def _try_to_write(folder: Path) -> None:
    with TemporaryFile(dir=folder):  # which exists, and may be another user's
        pass


async def _supervise(
    plan: Plan, folder: Path, display: Display, drain_limit: float, ready_file: Path | None, began: float
) -> int:
    def publish(report: MeshReport) -> None:
        if ready_file is None:
            return
        try:
            write_atomically(ready_file, report.to_json())
        except OSError as failure:  # a full disk does not end what runs
            display.news(f"cannot write the ready file to {ready_file}: {failure.strerror}")

    supervisor = Supervisor(plan, folder, display, drain_limit=drain_limit, on_change=publish, began=began)
    signals = StopSignals(supervisor.kill)
    await supervisor.run(signals.stop)
    return 130 if signals.first is signal.SIGINT else 0


def _operator(plan: Plan) -> Path | None:
    """The folder with an operator's certificate: what `inferloom certs issue --role operator` makes."""
    folder = None if plan.certs is None else plan.certs / Role.OPERATOR.value
    return folder if folder is not None and folder.is_dir() else None
