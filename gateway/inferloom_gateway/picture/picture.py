"""How the mesh looks from one gateway process, and what it knows of requests."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator, Iterator

import inferloom_mesh
from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1.worker_pb2 import EventLoop
from inferloom_gateway.calls.records import Record
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.picture.fleet_view import models, workers
from inferloom_gateway.picture.fleet_watch import FleetWatch
from inferloom_gateway.picture.happenings import Happenings
from inferloom_gateway.picture.record_message import record_message, troubled
from inferloom_gateway.picture.requests import Requests
from inferloom_mesh.durations import duration
from inferloom_mesh.lateness import Lateness
from inferloom_mesh.machine import resident_bytes
from inferloom_mesh.net import Address

LOOK_S = 0.5
"""Time between two looks: how late a happening may be noted, and how soon a watcher is told again."""

MOST_OF_ONE_NAME = 16
"""Requests of one name that are found."""


class Picture:
    """One gateway process's own. Nothing of it is made before somebody asks, but for what :meth:`run` notes.

    Made before the first request comes, because it listens to the gateway's requests.

    Args:
        gateway: Is looked at.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._pid = os.getpid()
        self._started_at = time.time()
        self._rest = self._grpc = ""
        self.stopping = gateway.stopping
        """Set once the gateway takes nothing new."""
        self.happenings = Happenings()
        self.requests = Requests(gateway.fleet, self.happenings, gateway.clock)
        self._fleet_watch = FleetWatch(gateway.fleet, gateway.membership, self.happenings)
        self._made: tuple[float, pb.Mesh] | None = None
        gateway.listeners.add(self.requests)
        self.name = gateway.settings.gateway_name
        """What this gateway is called; empty until it listens, if nobody has named it."""

    def listening(self, rest: Address, grpc: Address) -> None:
        """Say where the gateway listens."""
        self._rest, self._grpc = str(rest), str(grpc)
        self.name = self.name or f"{socket.gethostname()[:63]}:{grpc.port}"
        self.happenings.gateway = self.name

    async def run(self) -> None:
        """Look at the workers and at what runs, again and again, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Note what has changed, and what was generated since the last look."""
        now = self._gateway.clock()
        self._fleet_watch.look(now, time.time())
        self.requests.look(now)

    def mesh(self) -> pb.Mesh:
        """The mesh as this process sees it; the same object within one look, for reading only."""
        now = self._gateway.clock()
        if self._made is None or now - self._made[0] >= LOOK_S / 2:
            self._made = now, self._mesh(now)
        return self._made[1]

    async def watch(self) -> AsyncGenerator[pb.Mesh, None]:
        """The mesh, at once and whenever it has changed, at most once a look. Ends when the gateway stops."""
        told = b""
        while not self.stopping.is_set():
            mesh = self.mesh()
            if (facts := facts_of(mesh)) != told:
                told = facts
                yield mesh
            await asyncio.sleep(LOOK_S)

    def list_requests(self, asked: pb.ListRequestsRequest, most: int) -> list[pb.RequestRecord]:
        """The requests that are asked for, newest first, without the candidates of their attempts."""
        found: list[pb.RequestRecord] = []
        for record in self._newest_first(running_only=asked.running):
            if _asked_for(record, asked):
                found.append(record_message(record, self.name, self._pid, brief=True))
                if len(found) == most:
                    break
        return found

    def find_requests(self, request_id: str) -> list[pb.RequestRecord]:
        """All that is known of the requests of one name, newest first."""
        same = (each for each in self._newest_first() if each.context.request_id == request_id)
        return [
            record_message(each, self.name, self._pid)
            for each, _ in zip(same, range(MOST_OF_ONE_NAME), strict=False)
        ]

    @property
    def remembered(self) -> str:
        """How far back requests are known that ended, for people."""
        told = f"{self._gateway.settings.request_records} that ended"
        if (oldest := next(iter(self._gateway.records), None)) is not None:
            told += time.strftime(", here since %Y-%m-%d %H:%M:%S UTC", time.gmtime(oldest.began_at))
        return told

    def _newest_first(self, *, running_only: bool = False) -> Iterator[Record]:
        yield from reversed(list(self.requests.running()))
        if not running_only:
            yield from reversed(list(self._gateway.records))

    def _mesh(self, now: float) -> pb.Mesh:
        fleet, here = self._gateway.fleet, (self.name, self._pid)
        wall, activity = time.time(), self.requests.all.read(now)
        mesh = pb.Mesh(
            processes=[self._own(activity)],
            workers=workers(fleet, self._gateway.connections, now, *here),
            models=models(fleet, self.requests.models, now),
            happenings=self.happenings.read(wall),
            activity=activity,
        )
        mesh.taken_at.FromNanoseconds(round(wall * 1e9))
        return mesh

    def _own(self, activity: pb.Activity) -> pb.GatewayProcess:
        gateway, settings = self._gateway, self._gateway.settings
        membership, records = gateway.membership, gateway.records
        ready = gateway.ready()
        own = pb.GatewayProcess(
            gateway=self.name,
            pid=self._pid,
            zone=settings.zone,
            version=inferloom_mesh.__version__,
            ready=ready,
            not_ready_because="" if ready else _why_not_ready(gateway),
            rest_address=self._rest,
            grpc_address=self._grpc,
            in_flight=sum(member.in_flight for member in gateway.fleet.members()),
            waiting=gateway.room.waiting + gateway.dispatcher.turns.waiting,
            activity=activity,
            totals=self.requests.totals,
            event_loop=_event_loop(gateway.monitor.lateness),
            resident_bytes=resident_bytes(),
            records=settings.request_records,
        )
        own.totals.ejections = sum(gateway.fleet.ejections.values())
        own.started_at.FromNanoseconds(round(self._started_at * 1e9))
        if (oldest := next(iter(records), None)) is not None:
            own.oldest_record_at.FromNanoseconds(round(oldest.began_at * 1e9))
        for registry in settings.registry:
            followed = registry == membership.followed
            trouble = gateway.fleet.frozen if followed else membership.troubles.get(registry, "")
            own.registries.add(address=str(registry), followed=followed, trouble=trouble[:200])
        return own


def facts_of(mesh: pb.Mesh) -> bytes:
    """The mesh without what changes by itself."""
    facts = pb.Mesh()
    facts.CopyFrom(mesh)
    facts.ClearField("taken_at")
    for process in facts.processes:
        process.ClearField("event_loop")
        process.ClearField("resident_bytes")
    return facts.SerializeToString(deterministic=True)


def _asked_for(record: Record, asked: pb.ListRequestsRequest) -> bool:
    if asked.model and record.model != asked.model:
        return False
    if asked.worker and not any(each.worker == asked.worker for each in record.attempts):
        return False
    return not asked.troubled or troubled(record)


def _why_not_ready(gateway: Gateway) -> str:
    if gateway.leaving.is_set():
        return "it was told to stop"
    if not gateway.fleet.settled:
        return "no registry has told it the whole set of workers yet"
    return "no worker that takes requests holds a model"


def _event_loop(lateness: Lateness) -> EventLoop:
    worst, recent = duration(lateness.worst_s), duration(lateness.recent_s)
    told = EventLoop(ticks=lateness.ticks, worst=worst, recent=recent)
    for bound, count in lateness.buckets():
        told.buckets.add(upper=None if bound is None else duration(bound / 1e3), count=count)
    return told
