"""The mesh as the page shows it: rows of plain values, made of what the gateway knows. Pure."""

from collections.abc import Iterable
from typing import Any

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.console.live import Sections
from inferloom_gateway.console.requests import rounded
from inferloom_mesh.durations import seconds

Row = dict[str, Any]

MIB = 2**20

_STATES = {
    registry_pb2.WORKER_STATE_STARTING: "starting",
    registry_pb2.WORKER_STATE_READY: "ready",
    registry_pb2.WORKER_STATE_DRAINING: "draining",
}


def sections(mesh: pb.Mesh) -> Sections:
    """Everything but the requests."""
    return {
        "mesh": {"now": _now(mesh)},
        "processes": {f"{each.gateway}/{each.pid}": _process(each) for each in mesh.processes},
        "registries": _registries(mesh.processes),
        "workers": {each.id: _worker(each) for each in mesh.workers},
        "models": {each.id: _model(each) for each in mesh.models},
        "happenings": dict(map(_happening, mesh.happenings)),
    }


def _now(mesh: pb.Mesh) -> Row:
    told = mesh.activity
    return {
        "running": told.running,
        "waiting": sum(each.load.waiting for each in mesh.workers),
        "waiting_here": sum(each.waiting for each in mesh.processes),
        **_rates(told),
        "fps": round(told.failures_per_second, 1),
        "first_p95": _quantile(told.first_token, "p95"),
        "gap_p95": _quantile(told.token, "p95"),
        "unanswered": [f"{each.name} ({each.why})" for each in mesh.unanswered],
    }


def _rates(told: pb.Activity) -> Row:
    return {
        "rps": round(told.requests_per_second, 1),
        "tps": round(told.tokens_per_second, 1),
        "first": _quantile(told.first_token, "p50"),
        "gap": _quantile(told.token, "p50"),
    }


def _quantile(spread: pb.Spread, name: str) -> float | None:
    return rounded(seconds(getattr(spread, name))) if spread.count else None


def _process(told: pb.GatewayProcess) -> Row:
    return {
        "gateway": told.gateway,
        "pid": told.pid,
        "zone": told.zone,
        "version": told.version,
        "started": told.started_at.seconds,
        "ready": told.ready,
        "why": told.not_ready_because,
        "running": told.activity.running,
        "waiting": told.waiting,
        "rps": round(told.activity.requests_per_second, 1),
        "tps": round(told.activity.tokens_per_second, 1),
        "resident": told.resident_bytes // MIB * MIB,  # what changes by pages is not worth telling
    }


def _registries(processes: Iterable[pb.GatewayProcess]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for process in processes:
        for each in process.registries:
            row = found.setdefault(each.address, {"address": each.address, "followed": 0, "trouble": ""})
            row["followed"] += each.followed
            row["trouble"] = row["trouble"] or each.trouble
    return found


def _worker(told: pb.MeshWorker) -> Row:
    load = told.load
    state, why = _standing(told)
    return {
        "id": told.id,
        "address": told.address,
        "zone": told.zone,
        "version": told.version,
        "epoch": told.epoch,
        "state": state,
        "why": why,
        "capacity": told.capacity,
        "running": load.running if told.HasField("load") else told.in_flight,
        "waiting": load.waiting,
        "kv_used": max(0, load.total_kv_tokens - load.free_kv_tokens),
        "kv_total": load.total_kv_tokens,
        "tps": round(load.tokens_per_second, 1),
        "models": list(told.models),
        "loading": list(told.loading),
    }


def _standing(told: pb.MeshWorker) -> tuple[str, str]:
    """One word for what speaks for or against a worker, the worst first, and why."""
    if away := [each.gateway for each in told.standings if each.unreachable]:
        return "unreachable", f"{', '.join(dict.fromkeys(away))} cannot reach it."
    if told.lease_state == registry_pb2.LEASE_STATE_SUSPECT:
        return "suspect", "It has not renewed its lease in time."
    ejected = [each for each in told.standings if each.HasField("ejected_for")]
    if ejected:
        reason = (
            "it is much slower than its peers" if ejected[0].ejected_because == "slow" else "its calls fail"
        )
        return (
            "ejected",
            f"No requests for {max(seconds(e.ejected_for) for e in ejected):.0f} s more: {reason}.",
        )
    failing = [each for standing in told.standings for each in standing.ejected_models]
    if not failing:
        return _STATES.get(told.state, ""), ""
    names = ", ".join(sorted({each.model for each in failing}))
    longest = max(seconds(each.time_left) for each in failing)
    why = f"No requests for {names} for {longest:.0f} s more: what is asked of it fails there."
    of_one = ({each.model for each in standing.ejected_models} for standing in told.standings)
    all_of_it = any(each.issuperset(told.models) for each in of_one)
    return "ejected" if told.models and all_of_it else _STATES.get(told.state, ""), why


def _model(told: pb.MeshModel) -> Row:
    return {
        "id": told.id,
        "workers": told.workers,
        "usable": told.usable,
        "parent": told.parent,
        "alias_of": told.alias_of,
        "differing": told.differing,
        "running": told.activity.running,
        **_rates(told.activity),
    }


def _happening(told: pb.Happening) -> tuple[str, Row]:
    known = told.kind in pb.HappeningKind.values()  # another gateway may be newer
    kind = pb.HappeningKind.Name(told.kind).removeprefix("HAPPENING_KIND_") if known else f"KIND_{told.kind}"
    name = f"{told.at.ToMilliseconds()} {kind} {told.worker} {told.model} {told.gateway}"
    return name, {
        "at": round(told.at.seconds + told.at.nanos / 1e9, 1),
        "kind": kind,
        "worker": told.worker,
        "to_worker": told.to_worker,
        "model": told.model,
        "request": told.request_id,
        "count": told.count,
        "reason": told.reason,
        "tokens": told.tokens,
    }
