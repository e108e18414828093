"""All that looks at one gateway's requests, put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inferloom_gateway.access.stores.redis_files import authorities_of, certificate_of
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.slow_readers import SlowReaders
from inferloom_gateway.http.stack import Layer
from inferloom_gateway.observe.access_log import GrpcLog, RestLog
from inferloom_gateway.observe.meters import Doors, Meters, measure_fleet, measure_lines
from inferloom_mesh.call_observer import CallObserver
from inferloom_mesh.certificate_terms import CertificateTerms
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.metrics import Metrics, rendered
from inferloom_mesh.metrics_listener import metrics_at
from inferloom_mesh.metrics_reports import report, scrape
from inferloom_mesh.security import ServerTls
from inferloom_mesh.server import Server
from inferloom_mesh.tracer import Tracer, sending, tracer_of


class Watch:
    """The access log, the metrics and the traces of a gateway, for its doors to tell.

    Made before the first request comes, because it listens to the gateway's requests. Raises OSError where
    traces are to go where they cannot, or a file that the store of keys is spoken to with is of no use.
    """

    def __init__(self, gateway: Gateway, intake: Intake) -> None:
        self._settings = gateway.settings
        self.metrics = Metrics()
        gateway.listeners.add(Meters(self.metrics, gateway.clock))
        gateway.monitor.measure(self.metrics)
        measure_fleet(self.metrics, gateway.fleet, gateway.clock)
        measure_lines(self.metrics, gateway.connections)
        self._terms = CertificateTerms(self.metrics)
        self._terms.mesh(gateway.security)
        self._measure_keys(self._settings.keys or "")
        self.metrics.gauge(
            "inferloom_request_body_bytes",
            "Bytes of request bodies that are being read.",
            (),
            lambda: [((), intake.held)],
            merged="sum",
        )
        self.metrics.gauge(
            "inferloom_requests_waiting",
            "Requests that wait at the gateway because every worker of their model is full.",
            (),
            lambda: [((), gateway.room.waiting)],
            merged="sum",
        )
        self._doors = Doors(self.metrics)
        self._tracer = tracer_of(self._settings, "inferloom-gateway", gateway.clock)
        self._log = RestLog() if self._settings.access_log else None
        self.layers: list[Layer] = [self._doors]
        """For the REST door."""
        self.observers: list[CallObserver] = [self._doors]
        """For the gRPC door."""
        if self._tracer is not None:
            self._trace(self._tracer, gateway)
        if self._log is not None:
            self.layers.append(self._log)
            self.observers.append(GrpcLog())

    def _trace(self, tracer: Tracer, gateway: Gateway) -> None:
        from inferloom_gateway.observe.call_spans import CallSpans  # these read what makes spans
        from inferloom_gateway.observe.door_spans import GrpcSpans, RestSpans

        scheme = "https" if self._settings.encrypted else "http"
        gateway.listeners.add(CallSpans(tracer))
        self.layers.append(RestSpans(tracer, gateway.clock, scheme))
        self.observers.append(GrpcSpans(tracer, gateway.clock))
        tracer.export.measure(self.metrics, self._terms)

    def _measure_keys(self, where: str) -> None:
        """Tell until when what the store of keys is shown and known by is good, where it is a Redis."""
        if (shown := certificate_of(where)) is not None:
            self._terms.certificate("keys", shown.current)
        if (known := authorities_of(where)) is not None:
            self._terms.authorities("keys", known.current)

    def measure_door(self, tls: ServerTls | None) -> None:
        """Tell until when what the doors show their callers, and know them by, is good."""
        if tls is None:
            return
        self._terms.certificate("door", lambda: tls.files.current().certificate)
        if (callers := tls.authorities) is not None:
            self._terms.authorities("door", callers.current)

    def measure_readers(self, readers: SlowReaders, server: Server) -> None:
        """Tell of clients that do not read, at both doors."""
        assert server.slow is not None, "the gateway's server looks after its streams"
        streams = server.slow
        self.metrics.read_counter(
            "inferloom_slow_readers",
            "Connections, and gRPC's streams, that were ended because their client took nothing of them.",
            (),
            lambda: [((), readers.cut + streams.cut)],
        )

    def refused(self, error: InferloomError, client: tuple[str, int] | None) -> None:
        """Take note of what never became a request at the REST door."""
        self._doors.refused(error)
        if self._log is not None:
            self._log.refused(error, client)

    async def read(self, accept: str) -> tuple[bytes, str]:
        """The metrics' text and media type: of all processes, where this is one of several.

        Raises:
            OSError: The process that knows them all does not answer.
        """
        seat = self._settings.seat
        if seat is not None:
            return await scrape(seat.metrics, accept)
        return rendered(self.metrics.snapshot(), accept)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Let the metrics be read, and send traces, until the block ends.

        Raises:
            OSError: The address that was chosen for the metrics cannot be listened on, or a file that traces
                are sent with is of no use.
        """
        async with sending(self._tracer), self._metrics_shown():
            yield

    @asynccontextmanager
    async def _metrics_shown(self) -> AsyncIterator[None]:
        settings = self._settings
        if settings.seat is not None:
            reporting = asyncio.create_task(report(settings.seat.metrics, self.metrics))
            try:
                yield
            finally:
                reporting.cancel()
                await asyncio.gather(reporting, return_exceptions=True)
            return
        chosen = "gateway_metrics_listen" in settings.model_fields_set
        async with metrics_at(settings.gateway_metrics_listen, self.read, chosen=chosen):
            yield
