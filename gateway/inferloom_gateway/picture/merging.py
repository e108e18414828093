"""The pictures of several gateway processes as one. Pure."""

from collections.abc import Iterable, Sequence

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.picture.activity import sum_of
from inferloom_gateway.picture.happenings import merged


def together(meshes: Sequence[pb.Mesh], unanswered: Iterable[pb.Unanswered] = ()) -> pb.Mesh:
    """One mesh of several, the first of which is who answers: where they differ about a worker, the newest
    registration holds, and then the first."""
    first = meshes[0]
    mesh = pb.Mesh(
        taken_at=first.taken_at,
        processes=sorted(
            (each for one in meshes for each in one.processes), key=lambda each: (each.gateway, each.pid)
        ),
        workers=_workers(meshes),
        models=_models(meshes),
        happenings=merged(each for one in meshes for each in one.happenings),
        unanswered=sorted(unanswered, key=lambda each: (each.name, each.address)),
    )
    mesh.activity.CopyFrom(sum_of(one.activity for one in meshes))
    return mesh


def _workers(meshes: Sequence[pb.Mesh]) -> list[pb.MeshWorker]:
    found: dict[str, list[pb.MeshWorker]] = {}
    for one in meshes:
        for worker in one.workers:
            found.setdefault(worker.id, []).append(worker)
    told = []
    for name in sorted(found):
        several = found[name]
        worker = pb.MeshWorker()
        worker.CopyFrom(max(several, key=lambda each: each.epoch))
        worker.in_flight = sum(each.in_flight for each in several)
        del worker.standings[:]
        for each in several:
            worker.standings.extend(each.standings)
        worker.transports[:] = sorted(name for each in several for name in each.transports)
        told.append(worker)
    return told


def _models(meshes: Sequence[pb.Mesh]) -> list[pb.MeshModel]:
    found: dict[str, list[pb.MeshModel]] = {}
    for one in meshes:
        for model in one.models:
            found.setdefault(model.id, []).append(model)
    told = []
    for name in sorted(found):
        several = found[name]
        model = pb.MeshModel()
        model.CopyFrom(several[0])
        model.differing = any(each.differing for each in several)
        model.activity.CopyFrom(sum_of(each.activity for each in several))
        told.append(model)
    return told
