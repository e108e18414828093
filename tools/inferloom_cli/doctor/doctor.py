"""Looks at everything, and tells what was found."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from platformdirs import user_data_path
from rich.text import Text

from inferloom.v1.registry_pb2 import ListWorkersResponse
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import Credentials, of_peer
from inferloom_cli.doctor import asking, clocks, installation, machine, mesh
from inferloom_cli.doctor.finding import Finding, Level
from inferloom_cli.doctor.mesh import GatewaySaid
from inferloom_cli.known_settings import strangers
from inferloom_cli.probe import reachable
from inferloom_cli.refusal import RefusedError
from inferloom_cli.registries import merged
from inferloom_cli.settings import load
from inferloom_cli.terminal import terminal
from inferloom_cli.trouble import Trouble
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import is_loopback
from inferloom_mesh.settings import ServiceSettings, settings_file
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.settings import WorkerSettings
from inferloom_worker.sourcing.demo import cache_folder

_MARKS = {
    Level.OK: ("✓", "green"),
    Level.NOTE: ("·", "dim"),
    Level.WARNING: ("!", "yellow"),
    Level.FAULT: ("✗", "red"),
}


def examine(registry: str | None, gateway: str | None = None, *, alone: bool) -> Iterator[Finding]:
    """Look at this machine, at what is installed and set, and unless ``alone`` at a mesh: its registry and a
    gateway."""
    typed = {"registry": registry, "gateway": gateway}
    folders = {"cache": cache_folder(), "store": user_data_path("inferloom")}
    yield from machine.judge(machine.measure(folders))
    yield from installation.judge()
    yield from installation.judge_kernels()
    yield from installation.judge_gpu()
    wrong = list(_wrong_settings(typed))
    yield from wrong
    if wrong:
        return  # whom to ask is one of them
    yield Finding(
        "settings",
        Level.OK,
        f"all are known ({settings_file()})"
        if settings_file().is_file()
        else "as they are by default, or in the environment",
    )
    settings = load(ClientSettings, **typed)
    if settings.tls is not None:
        term = asking.certificate(settings.tls)
        yield from mesh.judge_certificate(f"in {settings.tls}", term, datetime.now(UTC))
    if not alone:
        yield from of_mesh(settings, load(GatewaySettings), of_peer(settings))


def tell(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was found: each finding in a line, and what mends it below."""
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
        return
    console = terminal()
    width = max(len(each.area) for each in findings)
    for each in findings:
        mark, style = _MARKS[each.level]
        console.print(Text.assemble((mark, style), f" {each.area:{width}}  {each.what}"), soft_wrap=True)
        if each.fix:
            console.print(
                Text(f"  {'':{width}}  → {each.fix}", style="dim" if each.level is Level.NOTE else "bold"),
                soft_wrap=True,
            )


def verdict(findings: Sequence[Finding]) -> str:
    """How many faults and warnings there are; empty: none."""
    counts = [
        (sum(each.level is level for each in findings), word)
        for level, word in ((Level.FAULT, "fault"), (Level.WARNING, "warning"))
    ]
    return " and ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)


def _wrong_settings(typed: Mapping[str, str | None]) -> Iterator[Finding]:
    try:
        unknown = list(strangers())
    except (OSError, ValueError) as wrong:
        unknown = [f"{settings_file()} cannot be read: {wrong}"]
    for sentence in unknown:
        yield Finding("settings", Level.FAULT, sentence, "correct it, or take it out")
    if unknown:
        return
    told = set()
    kinds: tuple[type[ServiceSettings], ...] = (
        ClientSettings,
        RegistrySettings,
        GatewaySettings,
        WorkerSettings,
    )
    for kind in kinds:
        try:
            load(kind, **(typed if kind is ClientSettings else {}))
        except RefusedError as refusal:
            if str(refusal) not in told:
                told.add(str(refusal))
                yield Finding("settings", Level.FAULT, str(refusal), "correct it where it is set")


def of_mesh(settings: ClientSettings, gateway: GatewaySettings, shown: Credentials) -> Iterator[Finding]:
    """Look at the mesh: at registries, workers and one gateway. That there is none is no fault where nobody
    named one.

    Args:
        settings: Where registries are, and the gateway if somebody named one.
        gateway: Where one listens on this machine.
        shown: What says who asks.
    """
    told = asyncio.run(asking.registries(settings.registry, shown))
    placed = "gateway_listen" in gateway.model_fields_set
    pointed_at = "gateway" in settings.model_fields_set
    at = settings.gateway if pointed_at else reachable(gateway.gateway_listen)
    said: GatewaySaid | Trouble
    if pointed_at:
        said = asyncio.run(asking.named_gateway(at, shown))
    else:
        said = asking.gateway(at, encrypted=gateway.encrypted, caller=settings.tls)
    answers = [each for each in told.values() if isinstance(each, ListWorkersResponse)]
    absent = all(isinstance(each, Trouble) and each.absent for each in (said, *told.values()))
    named = placed or pointed_at or settings.model_fields_set & {"registry", "registry_listen"}
    if absent and not named:
        what = f"no mesh runs at {', '.join(told)} and {at}"
        yield Finding(
            "mesh",
            Level.NOTE,
            what,
            "inferloom up starts one; --registry and --gateway name another",
        )
        return
    yield from mesh.judge_registry(told)
    if answers:
        listed = merged(answers)
        statuses = asyncio.run(asking.statuses(listed.workers, shown))
        yield from mesh.judge_workers(
            listed, statuses, installation.installed(installation.DISTRIBUTION) or ""
        )
    here = any(is_loopback(each.host) for each in settings.registry)
    yield from mesh.judge_gateway(str(at), said, wanted=here or placed or pointed_at)
    there = [each for each in settings.registry if isinstance(told[str(each)], ListWorkersResponse)]
    yield from clocks.judge_clocks(asyncio.run(clocks.read_clocks(there, at if pointed_at else None, shown)))
    if isinstance(said, GatewaySaid) and said.term is not None:
        yield from mesh.judge_certificate(f"of the gateway at {at}", said.term, datetime.now(UTC))
