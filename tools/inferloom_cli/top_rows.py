"""Gateways and workers as ``inferloom top`` speaks of them. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.text import Text

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_cli import words
from inferloom_cli.story import span
from inferloom_gateway.picture.activity import sum_of
from inferloom_mesh.durations import seconds


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """A gateway: its processes together."""

    name: str
    zone: str
    state: str
    style: str
    processes: int
    waiting: int
    activity: pb.Activity
    totals: pb.Totals
    late_s: float
    """The bound that 99 of 100 delays of its worst process's event loop keep."""


def gateways(mesh: pb.Mesh) -> list[GatewayRow]:
    """All, in order of name."""
    found: dict[str, list[pb.GatewayProcess]] = {}
    for process in mesh.processes:
        found.setdefault(process.gateway, []).append(process)
    return [_row(name, found[name]) for name in sorted(found)]


def _row(name: str, processes: list[pb.GatewayProcess]) -> GatewayRow:
    ready = sum(process.ready for process in processes)
    totals = pb.Totals(
        retries=sum(each.totals.retries for each in processes),
        moves=sum(each.totals.moves for each in processes),
        ejections=sum(each.totals.ejections for each in processes),
    )
    state, style = "ready", ""
    if not ready:
        state, style = "not ready", "red"
    elif ready < len(processes):
        state, style = f"{ready} of {len(processes)}", "yellow"
    return GatewayRow(
        name,
        processes[0].zone,
        state,
        style,
        len(processes),
        sum(each.waiting for each in processes),
        sum_of(each.activity for each in processes),
        totals,
        max(_late(each) for each in processes),
    )


def _late(process: pb.GatewayProcess) -> float:
    loop = process.event_loop
    left = 0.99 * loop.ticks
    for bucket in loop.buckets:
        left -= bucket.count
        if left <= 0 and bucket.HasField("upper"):
            return min(seconds(bucket.upper), seconds(loop.worst))
    return seconds(loop.worst)


def loop_late(row: GatewayRow) -> str:
    """How late its event loops run what is due, of all but one in a hundred times."""
    return span(row.late_s)


def links(worker: pb.MeshWorker) -> str:
    """What carries gateways' calls to a worker; with how many of their processes, where they differ."""
    counted = Counter(worker.transports)
    if len(counted) > 1:
        return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
    return next(iter(counted), "–")


def standing(worker: pb.MeshWorker) -> Text:
    """What speaks against a worker, the worst first; its state, without a style, where nothing does."""
    for text, style in _against(worker):
        return Text(text, style=style)
    return Text(words.state(worker.state))


def _against(worker: pb.MeshWorker) -> Iterable[tuple[str, str]]:
    standings = worker.standings
    if lost := sum(each.unreachable for each in standings):
        yield _of("unreachable", lost, standings), "red"
    if worker.lease_state == registry_pb2.LEASE_STATE_SUSPECT:
        yield "lease suspect", "red"
    if away := [each for each in standings if each.HasField("ejected_for")]:
        longest = max(seconds(each.ejected_for) for each in away)
        yield f"ejected {longest:.0f} s", "red"
    if failing := [each for one in standings for each in one.ejected_models]:
        names = sorted({each.model for each in failing})
        what = names[0] if len(names) == 1 else f"{len(names)} models"
        yield f"{what} ejected {max(seconds(each.time_left) for each in failing):.0f} s", "red"
    if worker.state != registry_pb2.WORKER_STATE_READY:
        yield words.state(worker.state), "yellow"
    if any(each.full for one in standings for each in one.not_now):
        yield "full", "yellow"
    if any(one.not_now for one in standings):
        yield "not now", "yellow"


def _of(word: str, count: int, standings: Iterable[pb.WorkerStanding]) -> str:
    return f"{word} ({count})" if count < sum(1 for _ in standings) else word
