"""What is wrong with a mesh that runs. Pure: it is given what its parts said."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inferloom.v1.registry_pb2 import (
    LEASE_STATE_ACTIVE,
    WORKER_STATE_DRAINING,
    ListWorkersResponse,
    RegisteredWorker,
)
from inferloom.v1.worker_pb2 import GetStatusResponse
from inferloom_cli import words
from inferloom_cli.doctor.finding import Finding, Level
from inferloom_cli.trouble import Trouble
from inferloom_mesh.durations import seconds
from inferloom_mesh.errors import Reason
from inferloom_mesh.tls_reading import Term

LATE_S = 1.0
"""How late an event loop may run what is due before everybody behind it notices."""
FULL = 0.95
"""The part of the memory for state from which on requests are held up or preempted."""
LEAST_LIFE = timedelta(days=14)
LEAST_PART = 1 / 4
"""How long a certificate should still be good, and which part of its time where that is less: who renews by
himself does so when a third is left."""
PEER_MEND = "export INFERLOOM_MESH_SECRET_FILE=FILE, as `inferloom up` prints it for its mesh"


@dataclass(frozen=True, slots=True)
class GatewaySaid:
    """What a gateway answered, by REST or gRPC."""

    ready: bool
    status: str
    """``/health/ready`` in its own words, or its health over gRPC."""
    late_s: float = 0.0
    """The latest that its event loop was in the last minutes."""
    term: Term | None = None
    """When the certificate that it shows is good. None: it speaks no TLS, or was asked by gRPC."""


def judge_registry(said: Mapping[str, ListWorkersResponse | Trouble]) -> Iterator[Finding]:
    """What registries told, by their addresses."""
    for address, answer in said.items():
        if isinstance(answer, Trouble):
            closed = answer.reason is Reason.NOT_A_PEER
            mend = PEER_MEND if closed else answer.mend or "look at its log, and at the way to it"
            yield Finding("registry", Level.FAULT, answer.what.removesuffix("."), mend)
        elif answer.frozen:
            what = f"{address} has lost its store, and keeps the workers as they are: {answer.frozen}"
            yield Finding("registry", Level.FAULT, what, "look at etcd: etcdctl endpoint status --cluster")
        else:
            yield Finding(
                "registry", Level.OK, f"{address} answers and knows {_workers(len(answer.workers))}"
            )


def judge_workers(
    listed: ListWorkersResponse, statuses: Mapping[str, GetStatusResponse | Trouble], version: str
) -> Iterator[Finding]:
    """What is to be said of the workers.

    Args:
        listed: As the registries know them.
        statuses: What each said itself, by name.
        version: Ours.
    """
    if not listed.workers:
        yield Finding("workers", Level.FAULT, "there are no workers", "inferloom worker --model NAME=SPEC")
    for row in listed.workers:
        found = list(_worker(row, statuses.get(row.worker.id, Trouble("it was not asked")), version))
        models = ", ".join(model.id for model in row.worker.models) or "no model"
        yield from found or [Finding("workers", Level.OK, f"{row.worker.id} serves {models}")]
    yield from _differing(listed.workers)


def _worker(row: RegisteredWorker, status: GetStatusResponse | Trouble, version: str) -> Iterator[Finding]:
    worker, load = row.worker, row.load
    if isinstance(status, Trouble):
        way = "open the way to its port, or tell it its address: INFERLOOM_WORKER_ADVERTISE"
        what = f"{worker.id} has a lease, and cannot be asked: {status.what.removesuffix('.')}"
        yield Finding("workers", Level.FAULT, what, way if status.absent else status.mend or way)
    elif (late := seconds(status.event_loop.recent)) > LATE_S:
        what = f"{worker.id}'s event loop stood still for {late:.1f} s"
        yield Finding(
            "workers", Level.WARNING, what, "give it more cores (--threads leaves one free), and see its log"
        )
    if row.lease_state != LEASE_STATE_ACTIVE:
        what = f"{worker.id}'s lease is {words.lease(row.lease_state)}: it has not renewed it in time"
        yield Finding("workers", Level.FAULT, what, "see its log, and the way from it to the registry")
    if worker.state == WORKER_STATE_DRAINING:
        what = f"{worker.id} is draining and takes nothing new"
        yield Finding("workers", Level.NOTE, what)
    if not worker.models:
        names = ", ".join(worker.loading)
        what = f"{worker.id} serves nothing" + (f" and is loading {names}" if names else "")
        fix = "" if names else f"inferloom load NAME=SPEC --worker {worker.id}"
        yield Finding("workers", Level.NOTE if names else Level.WARNING, what, fix)
    if worker.version and worker.version != version:
        what = f"{worker.id} runs version {worker.version}, this command {version}"
        yield Finding("workers", Level.NOTE, what)
    if load.total_kv_tokens and (used := 1 - load.free_kv_tokens / load.total_kv_tokens) > FULL:
        what = f"{worker.id}'s memory for state is {used:.0%} full, and {load.waiting} requests wait"
        yield Finding(
            "workers", Level.WARNING, what, "add a worker, or give it more with INFERLOOM_KV_CACHE_MIB"
        )


def _differing(rows: Sequence[RegisteredWorker]) -> Iterator[Finding]:
    kinds: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for model in row.worker.models:
            if told := model.definition_hash or model.compute_hash:
                kinds[model.id][told].append(row.worker.id)
    for name, holders in kinds.items():
        if len(holders) > 1:
            groups = " | ".join(", ".join(sorted(group)) for group in holders.values())
            what = f"{name} does not compute the same everywhere: {groups}"
            fix = "serve the same files, type and settings under one name; answers do not move between these"
            yield Finding("workers", Level.WARNING, what, fix)


def judge_gateway(address: str, said: GatewaySaid | Trouble, *, wanted: bool = True) -> Iterator[Finding]:
    """What a gateway told. That there is none is no fault where none is ``wanted``."""
    if isinstance(said, Trouble):
        fix = said.mend or "inferloom gateway starts one; --gateway HOST:PORT names another, by its gRPC port"
        fault = wanted or not said.absent
        yield Finding("gateway", Level.FAULT if fault else Level.NOTE, said.what, fix)
        return
    if said.ready:
        yield Finding("gateway", Level.OK, f"{address} is ready")
    else:
        fix = "it needs a registry that answers (--registry) and a worker that holds a model"
        yield Finding("gateway", Level.FAULT, f"{address} is not ready: {said.status}", fix)
    if said.late_s > LATE_S:
        what = f"its event loop stood still for {said.late_s:.1f} s"
        yield Finding("gateway", Level.WARNING, what, "more processes (--processes N), or a core of its own")


def judge_certificate(where: str, term: Term | str, now: datetime) -> Iterator[Finding]:
    """Until when a certificate is good, which is ``where``; a text says why it cannot be used."""
    if isinstance(term, str):
        mend = "inferloom certs renew makes another of its key, inferloom certs issue one where none is"
        yield Finding("certificates", Level.FAULT, term, mend)
        return
    ends = term.ends
    if ends - now < min(LEAST_LIFE, LEAST_PART * (ends - term.begins)):
        what = f"the certificate {where} ends on {ends:%Y-%m-%d}"
        mend = "replace it (inferloom certs renew makes another of the mesh's own); that needs no restart"
        yield Finding("certificates", Level.WARNING, what, mend)
    else:
        yield Finding("certificates", Level.OK, f"the certificate {where} is good until {ends:%Y-%m-%d}")


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"
