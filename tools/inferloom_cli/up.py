"""``inferloom up``: a whole mesh on this machine."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import of_peer
from inferloom_cli.display import Display
from inferloom_cli.exposure import check_doors, check_service
from inferloom_cli.mesh_report import MeshReport
from inferloom_cli.plan import Plan, as_flags, threads_of_each
from inferloom_cli.ports import require_free
from inferloom_cli.pull import fetch, fetch_adapter
from inferloom_cli.refusal import FAILED, MISUSED, RefusedError, needs, writable
from inferloom_cli.runmesh.keeper import GaveUpError
from inferloom_cli.runmesh.logs import log_root, new_run_folder
from inferloom_cli.runmesh.readiness import write_atomically
from inferloom_cli.runmesh.supervisor import Supervisor
from inferloom_cli.settings import load
from inferloom_cli.signals import StopSignals
from inferloom_mesh.machine import cores
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role

if TYPE_CHECKING:
    from inferloom_gateway.settings import GatewaySettings
    from inferloom_registry.settings import RegistrySettings
    from inferloom_worker.settings import WorkerSettings

_FIRST_WORKER_PORT = 7100

_SECRET, _SECRET_FILE = "INFERLOOM_MESH_SECRET", "INFERLOOM_MESH_SECRET_FILE"

_MARGIN_S = 5.0
"""How much longer than a service's own drain limit the supervisor waits for it."""


@dataclass(frozen=True, slots=True)
class UpFlags:
    """What was typed; None where it was not."""

    models: Sequence[str] = ()
    adapters: Sequence[str] = ()
    aliases: Sequence[str] = ()
    workers: int = 1
    host: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    registry_port: int | None = None
    worker_port: int | None = None
    gateway_processes: int | None = None
    strict: bool | None = None
    generation_config: str | None = None
    quantize: str | None = None
    tool_format: str | None = None
    reasoning_format: str | None = None
    speculation: str | None = None
    threads: int | None = None
    cors: str | None = None
    keys: str | None = None
    certs: Path | None = None
    insecure: bool | None = None
    behind_proxy: bool | None = None
    store: Path | None = None
    no_store: bool | None = None
    log_format: str | None = None
    verbose: bool = False
    ready_file: Path | None = None
    log_dir: Path | None = None


def alone(model: str, quantize: str | None = None, threads: int | None = None) -> UpFlags:
    """Flags for one model that only this machine reaches, on ports that are free, with nothing kept."""
    return UpFlags(
        models=(model,),
        host="127.0.0.1",
        port=0,
        grpc_port=0,
        registry_port=0,
        worker_port=0,
        no_store=True,
        quantize=quantize,
        threads=threads,
    )


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
        if ready_file is not None:
            write_atomically(ready_file, report.to_json())

    supervisor = Supervisor(plan, folder, display, drain_limit=drain_limit, on_change=publish, began=began)
    signals = StopSignals(supervisor.kill)
    await supervisor.run(signals.stop)
    return 130 if signals.first is signal.SIGINT else 0


def prepare(flags: UpFlags) -> tuple[Plan, float]:
    """Turn flags and settings into a plan whose models are on this machine and whose ports are free.

    Returns:
        The plan, and how long draining may take in seconds.

    Raises:
        RefusedError: A flag or setting is wrong, a port is taken, or a model cannot be had.
    """
    with needs("all"):
        from inferloom_gateway.settings import GatewaySettings
        from inferloom_registry.settings import RegistrySettings
        from inferloom_worker.settings import WorkerSettings
    registry = load(RegistrySettings, log_format=flags.log_format)
    chosen = registry.mesh_secret is not None or registry.mesh_secret_file is not None
    gateway = load(
        GatewaySettings,
        gateway_processes=flags.gateway_processes,
        cors=flags.cors,
        strict=flags.strict,
        store=flags.store,
        no_store=flags.no_store,
        keys=flags.keys,
        tls=None if flags.certs is None else flags.certs / "gateway",
        insecure=flags.insecure,
        behind_proxy=flags.behind_proxy,
        mesh_secret=None if chosen else secrets.token_urlsafe(32),
    )
    environment, peer = _keyed(gateway, chosen=chosen)
    passed_on = {
        "quantize": flags.quantize,
        "tool_format": flags.tool_format,
        "reasoning_format": flags.reasoning_format,
        "speculation": flags.speculation,
        "generation_config": flags.generation_config,
    }
    worker = load(
        WorkerSettings,
        models=tuple(flags.models) or None,
        adapters=tuple(flags.adapters) or None,
        aliases=tuple(flags.aliases) or None,
        threads=flags.threads,
        **passed_on,
    )
    plan = Plan(
        registry=_moved(registry.registry_listen, flags.host, flags.registry_port),
        rest=_moved(gateway.gateway_listen, flags.host, flags.port),
        grpc=_moved(gateway.gateway_grpc_listen, flags.host, flags.grpc_port),
        workers=tuple(_worker_addresses(worker.worker_listen, flags)),
        models=dict(worker.models),
        adapters=worker.adapters,
        aliases=worker.aliases,
        gateway_processes=gateway.gateway_processes,
        threads=worker.threads or threads_of_each(cores(), flags.workers),
        worker_flags=as_flags(passed_on),
        gateway_flags=as_flags(
            {
                "cors": flags.cors,
                "strict": flags.strict,
                "store": None if flags.store is None else str(flags.store.absolute()),
                "no_store": flags.no_store,
                "behind_proxy": flags.behind_proxy,
            }
        ),
        worker_metrics=_in_a_row(worker, flags.workers),
        # Workers renew three times a lease, and are back within a second of that; nobody should wait longer
        # for a mesh on one machine to be sure of itself.
        settle_s=registry.lease_ttl_s / 2 if registry.settle_s is None else registry.settle_s,
        shared_flags=as_flags({"log_format": flags.log_format}),
        keys=gateway.keys,
        certs=None if flags.certs is None else flags.certs.absolute(),
        door=_door(gateway),
        console=gateway.console and (gateway.keys is not None or not gateway.behind_proxy),
        environment=environment,
        peer=peer,
    )
    if len(plan.models) < len(worker.models):
        raise RefusedError("two models have the same name", MISUSED)
    _check_exposure(plan, registry, gateway, worker)
    require_free(
        [
            (plan.rest, "--port"),
            (plan.grpc, "--grpc-port"),
            (plan.registry, "--registry-port"),
            *((address, "--worker-port") for address in plan.workers if address is not None),
        ]
    )
    # Here, where progress can be seen, and once for all workers.
    for spec in plan.models.values():
        fetch(spec, worker.cache_dir)
    for _, _, spec in plan.adapters:
        fetch_adapter(spec)
    if any(spec.partition(":")[0] != "echo" for spec in plan.models.values()):
        with needs("worker"):
            from inferloom_worker.kernels.kept import ensure
        ensure(lambda words: print(words, file=sys.stderr, flush=True))
    return plan, max(gateway.drain_delay_s + gateway.drain_limit_s, worker.drain_limit_s) + _MARGIN_S


def _keyed(gateway: "GatewaySettings", *, chosen: bool) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """What the services' environment holds where callers are asked for keys, and what shows the mesh's
    secret.

    Args:
        gateway: The gateway's settings.
        chosen: Whether the secret comes from settings, which the services read as well.

    Raises:
        RefusedError: The keys, or the secret, cannot be had.
    """
    if gateway.keys is None:
        return {}, of_peer(gateway).metadata if chosen else ()
    from inferloom_gateway.access.stores.opening import open_store
    from inferloom_gateway.access.stores.protocol import StoreError

    try:
        open_store(gateway.keys).close()
    except StoreError as failure:
        raise RefusedError(str(failure)) from failure
    made = {} if chosen else gateway.peer_environment()
    return {"INFERLOOM_KEYS": gateway.keys, **made}, of_peer(gateway).metadata


def _operator(plan: Plan) -> Path | None:
    """The folder with an operator's certificate: what `inferloom certs issue --role operator` makes."""
    folder = None if plan.certs is None else plan.certs / Role.OPERATOR.value
    return folder if folder is not None and folder.is_dir() else None


def _door(gateway: "GatewaySettings") -> Path | None:
    return (gateway.gateway_tls or gateway.tls) if gateway.encrypted else None


def _check_exposure(
    plan: Plan, registry: "RegistrySettings", gateway: "GatewaySettings", worker: "WorkerSettings"
) -> None:
    """Make sure that nothing listens beyond this machine that is neither encrypted nor asks who calls, unless
    that was asked for, and that each service has its certificate.

    Raises:
        RefusedError: Something does, or one has none.
    """
    if not gateway.insecure:
        check_service([plan.registry, *plan.workers], encrypted=plan.certs is not None or registry.encrypted)
        check_doors([plan.rest, plan.grpc], gateway)
    if plan.certs is not None:
        for name in ("registry", "gateway", *(f"worker-{n + 1}" for n in range(len(plan.workers)))):
            if not (plan.certs / name).is_dir():
                role = name.partition("-")[0]
                line = f"inferloom certs issue --role {role} --name {name} {plan.certs}"
                raise RefusedError(f"{plan.certs} has no certificate for {name}: {line}", MISUSED)


def _in_a_row(worker: "WorkerSettings", workers: int) -> dict[str, Address]:
    """Where each worker has its metrics, if the settings say where: they say it for the first."""
    first = worker.worker_metrics_listen
    if first is None or not first.port or "worker_metrics_listen" not in worker.model_fields_set:
        return {}
    return {f"worker-{n + 1}": Address(first.host, first.port + n) for n in range(workers)}


def _moved(address: Address, host: str | None, port: int | None) -> Address:
    return Address(address.host if host is None else host, address.port if port is None else port)


def _worker_addresses(listen: Address | None, flags: UpFlags) -> Iterator[Address | None]:
    """Where each worker listens: ports in a row, or None where nobody has said so and each finds its own."""
    first = None
    if listen is not None or flags.host is not None or flags.worker_port is not None:
        first = _moved(listen or Address("127.0.0.1", _FIRST_WORKER_PORT), flags.host, flags.worker_port)
    for n in range(flags.workers):
        yield first and Address(first.host, first.port + n if first.port else 0)
