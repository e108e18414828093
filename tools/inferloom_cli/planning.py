"""A plan of flags and settings: what `inferloom up` starts, checked, with its models on this machine."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inferloom_cli.credentials import secret_of
from inferloom_cli.exposure import check_gateway, check_service
from inferloom_cli.own_caller import own_caller
from inferloom_cli.plan import Plan, as_flags, threads_of_each
from inferloom_cli.ports import require_free
from inferloom_cli.pull import fetch, fetch_adapter
from inferloom_cli.refusal import MISUSED, RefusedError, needs
from inferloom_cli.settings import load
from inferloom_cli.up_flags import UpFlags
from inferloom_mesh.machine import cores
from inferloom_mesh.net import Address
from inferloom_mesh.secret import MeshSecret

if TYPE_CHECKING:
    from inferloom_gateway.settings import GatewaySettings
    from inferloom_registry.settings import RegistrySettings
    from inferloom_worker.settings import WorkerSettings

_FIRST_WORKER_PORT = 7100
_LAST_PORT = 65535

_MARGIN_S = 5.0
"""How much longer than a service's own drain limit the supervisor waits for it."""


def prepare(flags: UpFlags) -> tuple[Plan, float]:
    """Turn flags and settings into a plan whose models are on this machine and whose ports are free.

    Returns:
        The plan, and how long draining may take in seconds.

    Raises:
        RefusedError: A flag or setting is wrong, a port is taken, or a model cannot be had.
    """
    passed_on = {
        "quantize": flags.quantize,
        "tool_format": flags.tool_format,
        "reasoning_format": flags.reasoning_format,
        "speculation": flags.speculation,
        "generation_config": flags.generation_config,
    }
    registry, gateway, worker = _settings(flags, passed_on)
    chosen = registry.mesh_secret is not None or registry.mesh_secret_file is not None
    environment, secret = _keyed(gateway, chosen=chosen)
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
        secret=secret,
    )
    if len(plan.models) < len(worker.models):
        raise RefusedError("two models have the same name", MISUSED)
    _check_exposure(plan, registry, gateway, worker)
    plan = replace(plan, caller=own_caller(gateway, flags.certs))
    require_free(
        [
            (plan.rest, "--port"),
            (plan.grpc, "--grpc-port"),
            (plan.registry, "--registry-port"),
            *((address, "--worker-port") for address in plan.workers if address is not None),
        ]
    )
    _fetch(plan, worker.cache_dir)
    return plan, max(gateway.drain_delay_s + gateway.drain_limit_s, worker.drain_limit_s) + _MARGIN_S


def _settings(
    flags: UpFlags, passed_on: Mapping[str, str | None]
) -> "tuple[RegistrySettings, GatewaySettings, WorkerSettings]":
    """The settings of the three services, as flags, variables and files have them.

    Raises:
        RefusedError: One is wrong, or a service is not installed.
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
    worker = load(
        WorkerSettings,
        models=tuple(flags.models) or None,
        adapters=tuple(flags.adapters) or None,
        aliases=tuple(flags.aliases) or None,
        threads=flags.threads,
        **passed_on,
    )
    return registry, gateway, worker


def _fetch(plan: Plan, cache_dir: Path | None) -> None:
    """Have the models, the adapters and the kernels on this machine.

    Raises:
        RefusedError: One cannot be had.
    """
    # Here, where progress can be seen, and once for all workers.
    for spec in plan.models.values():
        fetch(spec, cache_dir)
    for _, _, spec in plan.adapters:
        fetch_adapter(spec)
    if any(spec.partition(":")[0] != "echo" for spec in plan.models.values()):
        with needs("worker"):
            from inferloom_worker.kernels.kept import ensure
        ensure(lambda words: print(words, file=sys.stderr, flush=True))


def _keyed(gateway: "GatewaySettings", *, chosen: bool) -> tuple[dict[str, str], MeshSecret | None]:
    """What the services' environment holds where callers are asked for keys, and the mesh's secret, if
    the supervisor shows it.

    Args:
        gateway: The gateway's settings.
        chosen: Whether the secret comes from settings, which the services read as well.

    Raises:
        RefusedError: The keys, or the secret, cannot be had.
    """
    if gateway.keys is None:
        return {}, secret_of(gateway) if chosen else None
    from inferloom_gateway.access.stores.opening import open_store
    from inferloom_gateway.access.stores.protocol import StoreError

    try:
        open_store(gateway.keys).close()
    except StoreError as failure:
        raise RefusedError(str(failure)) from failure
    made = {} if chosen else gateway.peer_environment()
    return {"INFERLOOM_KEYS": gateway.keys, **made}, secret_of(gateway)


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
        check_gateway(plan.rest, plan.grpc, gateway)
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
    return {f"worker-{n + 1}": _nth(first, n, "worker_metrics_listen") for n in range(workers)}


def _moved(address: Address, host: str | None, port: int | None) -> Address:
    return Address(address.host if host is None else host, address.port if port is None else port)


def _worker_addresses(listen: Address | None, flags: UpFlags) -> Iterator[Address | None]:
    """Where each worker listens: ports in a row, or None where nobody has said so and each finds its own."""
    first = None
    if listen is not None or flags.host is not None or flags.worker_port is not None:
        first = _moved(listen or Address("127.0.0.1", _FIRST_WORKER_PORT), flags.host, flags.worker_port)
    for n in range(flags.workers):
        yield first and _nth(first, n, "--worker-port")


def _nth(first: Address, n: int, setting: str) -> Address:
    """The address ``n`` ports further on; any free port stays one.

    Raises:
        RefusedError: There is no such port.
    """
    if first.port + n > _LAST_PORT:
        raise RefusedError(f"the ports of so many workers end at {_LAST_PORT}: lower {setting}", MISUSED)
    return Address(first.host, first.port + n if first.port else 0)
