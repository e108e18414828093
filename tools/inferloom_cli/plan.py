"""What ``inferloom up`` starts: the command line of each service. Pure."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inferloom_mesh.net import Address
from inferloom_mesh.secret import MeshSecret

CLI = (sys.executable, "-m", "inferloom_cli")


@dataclass(frozen=True, slots=True)
class Plan:
    """One mesh on this machine. Port 0 stands for any free port."""

    registry: Address
    rest: Address
    grpc: Address
    workers: tuple[Address | None, ...]
    """None where a worker finds a port of its own, from 7100 on."""
    models: Mapping[str, str]
    """What every worker serves: each model's spec by its name."""
    adapters: Sequence[tuple[str, str, str]] = ()
    """Their adapters: name, base and spec."""
    aliases: Sequence[tuple[str, str]] = ()
    """Further names: each with the model or adapter that it stands for."""
    gateway_processes: int = 1
    """How many processes the gateway is; they share its addresses."""
    threads: int | None = None
    """Threads that each worker computes on. None: as its settings say."""
    worker_flags: Sequence[str] = ()
    """What was typed for the workers and is passed on to each."""
    gateway_flags: Sequence[str] = ()
    """What was typed for the gateway and is passed on to it."""
    worker_metrics: Mapping[str, Address] = field(default_factory=dict)
    """Where workers have their metrics, by their names; others find a port of their own, from 9102 on."""
    settle_s: float | None = None
    """How long the registry settles after a start, in seconds. None: as its settings say."""
    shared_flags: Sequence[str] = ()
    """What was typed for every service."""
    keys: str | None = None
    """Where API keys are kept. None: nobody is asked for one."""
    certs: Path | None = None
    """Folder with each service's certificate, in folders of their names. None: nothing is encrypted."""
    door: Path | None = None
    """Folder with the certificate of the gateway's doors. None: they do no TLS."""
    caller: Path | None = None
    """Folder with a certificate that they take of callers. None: they ask for none."""
    console: bool = True
    """Whether the gateway has a page for people."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the services are told by their environment, because it is secret."""
    secret: MeshSecret | None = None
    """What shows them who calls. None: nobody need show anything, or it is not known to the supervisor."""

    def environment_of(self, name: str) -> Mapping[str, str]:
        """What one service is told by its environment."""
        own = {} if self.certs is None else {"INFERLOOM_TLS": str(self.certs / name)}
        return {**self.environment, **own}

    def registry_command(self, listen: Address) -> Sequence[str]:
        """The registry, on the address that the plan or its earlier life gives it."""
        settle = () if self.settle_s is None else ("--settle", f"{self.settle_s:g}")
        return (*CLI, "registry", "--listen", str(listen), *settle, *self.shared_flags)

    def worker_command(self, name: str, listen: Address | None, registry: Address) -> Sequence[str]:
        """One worker."""
        where = () if listen is None else ("--listen", str(listen))
        models = [part for name, spec in self.models.items() for part in ("--model", f"{name}={spec}")]
        share = () if self.threads is None else ("--threads", str(self.threads))
        adapters = [part for adapter in self.adapters for part in ("--adapter", "=".join(adapter))]
        aliases = [part for alias in self.aliases for part in ("--alias", "=".join(alias))]
        shared = ("--registry", str(registry), *share, *self.shared_flags)
        metrics = ("--metrics-listen", str(self.worker_metrics[name])) if name in self.worker_metrics else ()
        return (
            *CLI,
            "worker",
            "--id",
            name,
            *where,
            *metrics,
            *shared,
            *self.worker_flags,
            *models,
            *adapters,
            *aliases,
        )

    def gateway_command(self, rest: Address, grpc: Address, registry: Address) -> Sequence[str]:
        """The gateway."""
        where = ("--listen", str(rest), "--grpc-listen", str(grpc), "--registry", str(registry))
        shared = ("--processes", str(self.gateway_processes), *self.gateway_flags, *self.shared_flags)
        return (*CLI, "gateway", *where, *shared)


def threads_of_each(cores: int, workers: int) -> int | None:
    """Threads for each of several workers of one machine, so that together they have no more than its cores.

    None for a single worker, which has them all.
    """
    return None if workers == 1 else max(1, cores // workers)


def as_flags(values: Mapping[str, str | bool | None]) -> Sequence[str]:
    """The flags that give a service these settings; none for a value that was not typed, or is False."""
    flags: list[str] = []
    for name, value in values.items():
        if value is None or value is False:
            continue
        flags.append(f"--{name.replace('_', '-')}")
        if value is not True:
            flags.append(value)
    return tuple(flags)
