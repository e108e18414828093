"""The worker as a service: it listens, loads, registers, serves, and drains."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

from inferloom.v1.inference_pb2_grpc import add_InferenceServiceServicer_to_server
from inferloom.v1.link_pb2_grpc import add_LinkServiceServicer_to_server
from inferloom.v1.worker_pb2_grpc import add_WorkerServiceServicer_to_server
from inferloom_mesh.call_observer import CallObserver
from inferloom_mesh.certificate_terms import CertificateTerms
from inferloom_mesh.lateness import LoopMonitor
from inferloom_mesh.metrics import Metrics, of_library, rendered
from inferloom_mesh.metrics_listener import metrics_at
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.server import Server, build_server
from inferloom_mesh.tracer import sending, tracer_of
from inferloom_mesh.waiting import first_of
from inferloom_worker.hosting.finding import require_model_present
from inferloom_worker.hosting.host import HostState, ModelHost
from inferloom_worker.hosting.model_loading import load_adapter, load_model
from inferloom_worker.joining.addresses import advertised, advertised_link, listen
from inferloom_worker.joining.certificate import join
from inferloom_worker.joining.lease import FencedError, LeaseKeeper, RegistrationRefusedError
from inferloom_worker.joining.own_folder import is_joined
from inferloom_worker.joining.renewal import keep_renewed
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.observe.access_log import AccessLog
from inferloom_worker.observe.meters import Meters
from inferloom_worker.rpc import control, servicer
from inferloom_worker.rpc.attach.attachments import Attachments
from inferloom_worker.rpc.attach.link_port import LinkPort
from inferloom_worker.rpc.attach.servicer import LinkServicer
from inferloom_worker.rpc.control import ControlServicer
from inferloom_worker.rpc.inference import Inference
from inferloom_worker.rpc.servicer import InferenceServicer
from inferloom_worker.settings import DEFAULT_ADDRESS, WorkerSettings, default_worker_id
from inferloom_worker.sourcing import hub
from inferloom_worker.sourcing.sources import require_present
from inferloom_worker.text.pool import TextPool

GRACE_S = 1.0
"""Seconds that the server gives the calls which are left when it stops."""

METRICS_PORTS = 64
"""Ports that are tried for the metrics where nobody chose one: as many workers may be on a machine."""

FAULT_LIMIT_S = 5.0
"""Seconds that other models' requests get when a model's thread has failed."""

CLOSE_LIMIT_S = 5.0
"""Seconds that the rest of a worker gets to close after a fault, before the process is ended."""

_TALKATIVE = ("httpx", "httpx2", "huggingface_hub", "sentence_transformers", "torch", "transformers")
"""Libraries that log their doings at a level at which people watch a service."""

log = logging.getLogger(__name__)


async def serve(settings: WorkerSettings, stop: asyncio.Event, on_ready: Callable[[Address], None]) -> None:
    """Serve models until ``stop`` is set, then drain.

    The worker listens and registers at once, and says that it is starting until every model is loaded.

    Args:
        settings: Its settings.
        stop: Ends it.
        on_ready: Called once, when every model is loaded, with the address that it listens on.

    Raises:
        OSError: The address cannot be bound.
        SourceError, InferloomError: A model or an adapter cannot be loaded.
        FencedError, RegistrationRefusedError: The registry will not have this worker.
        BrokenError: A model's own thread failed. Other models' requests were let finish, for
            :data:`FAULT_LIMIT_S` seconds at most; whoever runs the process starts it anew.
    """
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    # Before anybody is told that it listens: a mistyped path is the likeliest mistake.
    for _, spec in settings.models:
        require_model_present(spec)
    for *_, spec in settings.adapters:
        require_present(spec)
    if settings.tls is not None and settings.join_token_file is not None:
        await join(settings.tls, settings.join_token_file)
    worker = Worker(settings)
    address = await worker.listen()
    stopping: asyncio.Task[object] = asyncio.create_task(stop.wait())
    loading: asyncio.Task[object] = asyncio.create_task(worker.load())
    keeping: asyncio.Task[object] = asyncio.create_task(worker.keep_lease())
    faulty = asyncio.create_task(worker.host.fault())
    last_resort: threading.Timer | None = None
    try:
        await first_of(stopping, loading, faulty, failing=[keeping])
        if loading.done() and not faulty.done():
            loading.result()
            on_ready(address)
            await first_of(stopping, faulty, failing=[keeping])
    finally:
        loading.cancel()
        hub.stop()
        limit = settings.drain_limit_s
        if faulty.done():
            limit = 0.0 if faulty.result().memory_suspect else min(limit, FAULT_LIMIT_S)
            last_resort = _end_surely(limit + CLOSE_LIMIT_S)
        await worker.drain(limit)
        worker.give_up_lease()
        # What ended the keeper early has been raised above.
        with suppress(FencedError, RegistrationRefusedError):
            await keeping
        stopping.cancel()
        await worker.close()
        if last_resort is not None:
            last_resort.cancel()
    if faulty.done():
        raise BrokenError(f"{faulty.result()}; the worker ends, to be started anew")
    faulty.cancel()
    log.info("worker stopped")


class BrokenError(Exception):
    """A model's own thread failed, so that the process must end."""


def _end_surely(seconds: float) -> threading.Timer:
    """End the process if it has not ended by itself: what broke may also hang what waits for it."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
    return timer


class Worker:
    """The parts of one worker, put together."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        load = partial(load_model, options=settings.load_options())
        self.host = ModelHost(load, load_adapter, self._on_change, max_adapters=settings.max_adapters)
        self.description = SelfDescription(self.host, capacity=settings.max_running, zone=settings.zone)
        self._texts = TextPool()
        self._monitor = LoopMonitor()
        self._metrics = Metrics()
        self._monitor.measure(self._metrics)
        self._security = settings.security(Role.WORKER)
        terms = CertificateTerms(self._metrics)
        terms.mesh(self._security)
        observers: list[CallObserver] = [Meters(self._metrics, self.host)]
        self._tracer = tracer_of(settings, "inferloom-worker")
        if self._tracer is not None:
            from inferloom_worker.observe.spans import Spans  # it reads what makes spans

            observers.append(Spans(self._tracer, lambda: self.description.worker_id))
            self._tracer.export.measure(self._metrics, terms)
        if settings.access_log:
            observers.append(AccessLog(lambda: self.description.worker_id))
        self._server: Server = build_server(
            [servicer.SERVICE, control.SERVICE],
            observers=observers,
            guard=self._security.guard,
            tls=self._security.inside(),
            audit=self._security.audit,
            allowed=self._security.allowed,
        )
        inference = Inference(self.host, self._texts, self.description, max_priority=settings.max_priority)
        add_InferenceServiceServicer_to_server(InferenceServicer(inference), self._server.grpc)
        self._attachments = Attachments(inference, self.host, self.description, observers)
        self._link = LinkPort(self._attachments, self._security)
        add_LinkServiceServicer_to_server(LinkServicer(self._attachments), self._server.grpc)
        add_WorkerServiceServicer_to_server(
            ControlServicer(
                self.host,
                self.description,
                settings.drain_limit_s,
                self._monitor.lateness,
                self._security.audit,
                settings.server_hosts,
            ),
            self._server.grpc,
        )
        self._keeper: LeaseKeeper | None = None
        self._health: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._shown = AsyncExitStack()

    async def listen(self) -> Address:
        """Listen and take a name; health says NOT_SERVING.

        Raises:
            OSError: The address cannot be bound.
        """
        settings = self._settings
        self.host.expect(settings.models, settings.adapters, settings.aliases)
        await self._server.set_serving(False)
        async with AsyncExitStack() as opening:
            opening.push_async_callback(self._server.stop, 0)
            await opening.enter_async_context(
                metrics_at(
                    settings.worker_metrics_listen,
                    self._read_metrics,
                    chosen="worker_metrics_listen" in settings.model_fields_set,
                    ports=METRICS_PORTS,
                )
            )
            await opening.enter_async_context(sending(self._tracer))
            bound = await listen(self._server, settings.worker_listen, DEFAULT_ADDRESS)
            link: Address | None = None
            if settings.worker_link_port is not None:
                opening.push_async_callback(self._link.close, 0)
                link = await self._link.listen(Address(bound.host, settings.worker_link_port))
            self._shown = opening.pop_all()
        nearest = settings.registry[0] if settings.registry else None
        name = settings.worker_id or default_worker_id(bound.port)
        shown = advertised(bound, settings.worker_advertise, nearest)
        link = advertised_link(link, settings.worker_link_advertise, bound, shown)
        self.description.bind(name, shown, link)
        if settings.registry is not None:
            self._keeper = LeaseKeeper(
                settings.registry,
                self.description.worker,
                self.description.load,
                security=self._security,
            )
        log.info("worker %s listens on %s", name, bound)
        if link is not None:
            log.info("gateways attach to it at %s", link)
        return bound

    async def load(self) -> None:
        """Load every model and adapter; then health says SERVING.

        Raises:
            SourceError, InferloomError: One of them cannot be loaded.
        """
        await self.host.start(self._settings.models, self._settings.adapters, self._settings.aliases)
        self._monitor.start()  # only now: the first import of a library stops everything for a while
        if self._health is not None:
            await self._health

    async def keep_lease(self) -> None:
        """Keep the worker registered until :meth:`give_up_lease`; without a registry just wait for that.

        Raises:
            FencedError, RegistrationRefusedError: The registry will not have this worker.
        """
        renewing: asyncio.Task[None] | None = None
        settings = self._settings
        joined = settings.join_token_file is not None or is_joined(settings.tls)
        if joined and settings.registry is not None:
            renewing = asyncio.create_task(keep_renewed(self._security, list(settings.registry)))
        try:
            if self._keeper is None:
                await self._closing.wait()
            else:
                await self._keeper.run()
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)

    async def drain(self, limit_s: float) -> None:
        """Take nothing new, and let running calls finish for ``limit_s`` seconds at most."""
        ended = await self.host.drain(limit_s)
        if ended:
            log.warning("%d requests ran longer than %g s and were ended", ended, limit_s)

    def give_up_lease(self) -> None:
        """End :meth:`keep_lease`."""
        self._closing.set()
        if self._keeper is not None:
            self._keeper.close()

    async def close(self) -> None:
        """Stop listening and free the models."""
        self._attachments.close()
        await asyncio.gather(self._link.close(GRACE_S), self._server.stop(GRACE_S))
        await self._shown.aclose()  # stops the server again, which does nothing
        await self.host.close()
        self._texts.close()
        self._monitor.stop()
        if self._health is not None:
            await self._health

    async def _read_metrics(self, accept: str) -> tuple[bytes, str]:
        # An engine that is vLLM counts by itself; what we measure under the same names is not told twice.
        return rendered(self._metrics.snapshot(), accept, of_library("vllm:"))

    def _on_change(self) -> None:
        serving = self.host.state is HostState.READY
        self._health = asyncio.get_running_loop().create_task(self._server.set_serving(serving))
        if self._keeper is not None:
            self._keeper.notify()
