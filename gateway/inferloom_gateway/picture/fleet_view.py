"""The workers and their models, as one gateway process sees them, in the contract's words."""

from collections.abc import Mapping

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.calls.link import WorkerLink
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.picture.activity import Recent
from inferloom_mesh.durations import duration


def workers(
    fleet: Fleet, connections: Connections[WorkerLink], now: float, gateway: str, pid: int
) -> list[pb.MeshWorker]:
    """All workers, in order of id."""
    told = []
    for member in sorted(fleet.members(), key=lambda member: member.id):
        worker = _worker(member, now, gateway, pid)
        if (line := connections.opened(member)) is not None:
            worker.transports.append(line.transport)
        told.append(worker)
    return told


def models(fleet: Fleet, recent: Mapping[str, Recent], now: float) -> list[pb.MeshModel]:
    """All models that a worker holds, in order of id."""
    found: dict[str, list[Member]] = {}
    for member in fleet.members():
        for name in member.models:
            found.setdefault(name, []).append(member)
    told = []
    for name in sorted(found):
        holding = found[name]
        card = holding[0].models[name]
        told.append(
            pb.MeshModel(
                id=name,
                workers=len(holding),
                usable=sum(member.usable for member in holding),
                parent=card.parent,
                alias_of=card.alias_of,
                differing=name in fleet.differing,
                activity=recent[name].read(now) if name in recent else pb.Activity(),
            )
        )
    return told


def _worker(member: Member, now: float, gateway: str, pid: int) -> pb.MeshWorker:
    suspect = member.suspect_since is not None
    told = pb.MeshWorker(
        id=member.id,
        address=member.address,
        zone=member.zone,
        version=member.version,
        epoch=member.epoch,
        state=member.state,
        lease_state=registry_pb2.LEASE_STATE_SUSPECT if suspect else registry_pb2.LEASE_STATE_ACTIVE,
        capacity=member.capacity,
        models=sorted(member.models),
        loading=sorted(member.loading),
        load=member.said,
        in_flight=member.in_flight,
    )
    standing = _standing(member, now, gateway, pid)
    if standing is not None:
        told.standings.append(standing)
    return told


def _standing(member: Member, now: float, gateway: str, pid: int) -> pb.WorkerStanding | None:
    """How this process stands to a worker; None where there is nothing to tell. Durations are in whole
    seconds, so that they change no more often."""
    health = member.health
    told = pb.WorkerStanding(
        gateway=gateway,
        pid=pid,
        in_flight=member.in_flight,
        unreachable=not health.reachable,
        ejected_because=health.own.reason,
        failures=health.own.failures,
        weight=round(member.weight("", now), 2),
    )
    if health.ejected(now):
        told.ejected_for.FromSeconds(round(health.own.ejected_until - now))
    for model, until in member.failing(now).items():
        told.ejected_models.add(model=model, time_left=duration(round(until - now)))
    for model, until in health.refusing.items():
        if until > now:
            left = duration(round(until - now))
            told.not_now.add(model=model, time_left=left, full=model in health.full)
    quiet = not (told.in_flight or told.unreachable or told.failures or told.not_now or told.ejected_models)
    if quiet and told.weight == 1 and not told.HasField("ejected_for"):
        return None
    return told
