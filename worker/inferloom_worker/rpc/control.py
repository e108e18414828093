"""The control contract of one worker."""

import asyncio
import os
from collections.abc import Collection, Coroutine
from typing import Any

import grpc
import psutil
from google.protobuf.timestamp_pb2 import Timestamp

from inferloom.v1 import worker_pb2 as pb
from inferloom.v1.worker_pb2_grpc import WorkerServiceServicer
from inferloom_mesh.audit import Audit
from inferloom_mesh.durations import duration, seconds
from inferloom_mesh.errors import invalid, shown
from inferloom_mesh.identity import PEER
from inferloom_mesh.interceptor import who
from inferloom_mesh.lateness import Lateness
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.sourcing.flags import check_name
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.sourcing.spec import SIDECAR, Spec

SERVICE = "inferloom.v1.WorkerService"

Context = grpc.aio.ServicerContext[Any, Any]


class ControlServicer(WorkerServiceServicer):
    """Controls one host.

    Args:
        host: The models.
        description: Describes the worker.
        drain_limit_s: Seconds that running requests may take where a caller says nothing.
        lateness: How late the event loop runs what is due.
        audit: Is told who changed what.
        server_hosts: Where servers may be that calls name, as HOST or HOST:PORT.
    """

    def __init__(
        self,
        host: ModelHost,
        description: SelfDescription,
        drain_limit_s: float,
        lateness: Lateness,
        audit: Audit | None = None,
        server_hosts: Collection[str] = (),
    ) -> None:
        self._host = host
        self._description = description
        self._drain_limit = drain_limit_s
        self._lateness = lateness
        self._audit = audit
        self._server_hosts = frozenset(server_hosts)
        self._started_at = Timestamp()
        self._started_at.GetCurrentTime()

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(
            worker=self._description.worker(),
            load=self._description.load(),
            models=[model.status() for model in self._host.models],
            started_at=self._started_at,
            pid=os.getpid(),
            resident_bytes=psutil.Process().memory_info().rss,
            event_loop=_event_loop(self._lateness),
        )

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:
        """The process stays: whoever runs it stops it."""
        limit = self._drain_limit
        if request.HasField("limit"):
            limit = seconds(request.limit)
            if limit < 0:
                raise invalid("limit", "limit must not be negative.")
        self._note("worker.drain", context)
        # Goes on if the caller hangs up: a worker that drains does not come back.
        ended = await asyncio.shield(asyncio.ensure_future(self._host.drain(limit)))
        return pb.DrainResponse(ended_requests=ended)

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.LoadModelResponse:
        self._host.check_open()
        _require(request, "model", "spec")
        name = _name("model", request.model)
        self._check_server(request.spec)
        served = await _finish_loading(self._host.load(name, request.spec))
        self._note("model.load", context, model=name, spec=shown(request.spec))
        return pb.LoadModelResponse(model=served.card)

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.UnloadModelResponse:
        await asyncio.shield(asyncio.ensure_future(self._host.unload(request.model, self._drain_limit)))
        self._note("model.unload", context, model=shown(request.model))
        return pb.UnloadModelResponse()

    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Context) -> pb.LoadAdapterResponse:
        self._host.check_open()
        _require(request, "model", "adapter", "spec")
        name = _name("adapter", request.adapter)
        base = await _finish_loading(self._host.load_adapter(name, request.model, request.spec))
        self._note(
            "adapter.load", context, adapter=name, model=shown(request.model), spec=shown(request.spec)
        )
        return pb.LoadAdapterResponse(model=base.card)

    async def UnloadAdapter(
        self, request: pb.UnloadAdapterRequest, context: Context
    ) -> pb.UnloadAdapterResponse:
        _require(request, "model", "adapter")
        unloading = self._host.unload_adapter(request.adapter, request.model, self._drain_limit)
        await asyncio.shield(asyncio.ensure_future(unloading))
        self._note("adapter.unload", context, adapter=shown(request.adapter), model=shown(request.model))
        return pb.UnloadAdapterResponse()

    def _check_server(self, spec: str) -> None:
        """Refuse a server that callers may not name: the worker would ask whatever it reaches for them, and
        send it any file of this machine as a key."""
        read = Spec.parse(spec)
        if read.engine != SIDECAR:
            return
        try:
            address = ServerAddress.parse(read.rest, keys_allowed=False)
        except ValueError as refusal:
            words = str(refusal)
            raise invalid("spec", f"{words[0].upper()}{words[1:]}.") from None
        if not address.is_at(self._server_hosts):
            message = "The worker's server_hosts do not name that server's host, so no call can."
            raise invalid("spec", message)

    def _note(self, event: str, context: Context, **about: str) -> None:
        if self._audit is not None:
            worker = self._description.worker_id
            self._audit.done(event, who(PEER.get(), context), worker=worker, **about)


def _event_loop(lateness: Lateness) -> pb.EventLoop:
    buckets = [
        pb.DelayBucket(upper=None if bound is None else duration(bound / 1e3), count=count)
        for bound, count in lateness.buckets()
    ]
    worst, recent = duration(lateness.worst_s), duration(lateness.recent_s)
    return pb.EventLoop(ticks=lateness.ticks, worst=worst, buckets=buckets, recent=recent)


def _require(
    request: pb.LoadModelRequest | pb.LoadAdapterRequest | pb.UnloadAdapterRequest, *fields: str
) -> None:
    for field in fields:
        if not getattr(request, field):
            raise invalid(field, f"{field} is required.")


def _name(field: str, value: str) -> str:
    try:
        return check_name(value)
    except SourceError as refusal:
        raise invalid(field, _sentence(refusal)) from refusal


def _sentence(refusal: SourceError) -> str:
    """What is said, with one full stop at its end: libraries' words have their own."""
    words = str(refusal).rstrip()
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


async def _finish_loading(loading: Coroutine[Any, Any, ServedModel]) -> ServedModel:
    # Goes on if the caller hangs up: a load cannot be stopped halfway.
    try:
        return await asyncio.shield(asyncio.ensure_future(loading))
    except SourceError as refusal:
        raise invalid("spec", _sentence(refusal)) from refusal
