"""Spans on their way to a collector: gathered, bounded, and sent in batches."""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import uuid4

import inferloom_mesh
from inferloom_mesh.certificate_terms import CertificateTerms
from inferloom_mesh.metrics import Metrics
from inferloom_mesh.otlp_encoding import (
    Attributes,
    Value,
    export_request,
    rejected,
    resource_of,
    scope_of,
    span,
)
from inferloom_mesh.otlp_sending import SendingError, Way, way_to
from inferloom_mesh.otlp_target import Target, resource
from inferloom_mesh.tls_reading import Shown

BATCH = 512
"""Spans that are sent at once without waiting for more."""

MOST = 4096
"""Spans that wait at most; beyond it they are lost, and counted."""

DELAY_S = 2.0
"""How long a span waits for others."""

LIMIT_S = 10.0
"""What a collector may take for a batch."""

CLOSING_S = 2.0
"""What the last batch may take when the service ends."""

LONGEST_PAUSE_S = 30.0
TRIES = 5

_TELL_AGAIN_S = 600.0
"""How often a collector that does not answer is told of in the log."""

_NOTHING: Attributes = {}

log = logging.getLogger(__name__)


class SpanExport:
    """Takes spans and sends them. All of it belongs to the event loop.

    Args:
        target: Where they go.
        service: What the process is, such as ``inferloom-gateway``.
        clock: The monotonic clock that moments of spans are on.
        way: How they get there; None: as the target says.
    """

    def __init__(
        self,
        target: Target,
        service: str,
        clock: Callable[[], float] = time.monotonic,
        way: Way | None = None,
    ) -> None:
        self._target = target
        self._clock = clock
        self._way = way
        told: dict[str, Value] = {"service.instance.id": str(uuid4()), "process.pid": os.getpid()}
        told |= resource(service, inferloom_mesh.__version__)
        self._resource = resource_of(told)
        self._scope = scope_of("inferloom", inferloom_mesh.__version__)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = Counter[str]()
        self._silent_since: float | None = None
        self._told_at = float("-inf")
        self._fresh()

    @property
    def waiting(self) -> int:
        """Spans that wait to be sent."""
        return len(self._spans)

    @property
    def lost(self) -> int:
        """Spans that never got there."""
        return self._ended["lost"]

    def measure(self, metrics: Metrics, terms: CertificateTerms) -> None:
        """Tell what became of spans, and until when what the collector is shown and known by is good."""
        terms.outside("traces", self._shown)
        metrics.read_counter(
            "inferloom_spans",
            "Spans of traces, by what became of them: sent, or lost.",
            ("outcome",),
            lambda: [((outcome,), self._ended[outcome]) for outcome in ("sent", "lost")],
        )

    def add(
        self,
        name: str,
        kind: int,
        at: tuple[str, str, str],
        times: tuple[float, float],
        attributes: Attributes,
        *,
        own: Attributes = _NOTHING,
        error: bool = False,
        state: str = "",
        events: Iterable[tuple[str, float, Attributes]] = (),
        link: str = "",
    ) -> None:
        """Take a span that is over, as :func:`~inferloom_mesh.otlp_encoding.span` has it; moments are those
        of the clock."""
        if len(self._spans) >= MOST:
            self._ended["lost"] += 1
            return
        first, last = times
        made = span(
            name,
            kind,
            at,
            (self._nano(first), self._nano(max(first, last))),
            attributes,
            own,
            error=error,
            state=state,
            events=[(what, self._nano(when), more) for what, when, more in events],
            link=link,
        )
        self._spans.append(made)
        if len(self._spans) >= BATCH:
            self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send spans until the block ends, and then the last ones, for :data:`CLOSING_S` at most.

        Raises:
            OSError: A file that they are sent with is of no use.
        """
        way = self._way = self._way or way_to(self._target)
        sending = asyncio.create_task(self._run(way), name="spans")
        try:
            yield
        finally:
            self._stopping.set()
            self._wake.set()
            await asyncio.wait([sending], timeout=CLOSING_S)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._ended["lost"] += len(self._spans)
            await way.close()

    def _shown(self) -> Shown | None:
        files = None if self._way is None else self._way.files
        return None if files is None else files.current()

    async def _run(self, way: Way) -> None:
        while not self._stopping.is_set():
            await _wait(self._wake, DELAY_S)
            await self._send(way)
        await self._send(way)

    def _fresh(self) -> None:
        self._spans: list[bytes] = []
        self._wake.clear()
        self._offset = time.time_ns() - int(self._clock() * 1e9)

    def _nano(self, moment: float) -> int:
        return self._offset + int(moment * 1e9)

    async def _send(self, way: Way) -> None:
        spans = self._spans
        self._fresh()  # the clocks may have drifted apart
        if not spans:
            return
        message = export_request(self._resource, self._scope, spans)
        outcome, pause = "lost", 1.0
        try:
            for more in reversed(range(TRIES)):
                try:
                    answer = await way.send(message, LIMIT_S)
                except SendingError as failure:
                    self._fails(failure)
                    if not failure.later or not more or self._stopping.is_set():
                        return
                    await _wait(self._stopping, pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                else:
                    outcome = "sent"
                    self._came(answer)
                    return
        finally:
            self._ended[outcome] += len(spans)

    def _fails(self, failure: SendingError) -> None:
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        if now - self._told_at >= _TELL_AGAIN_S:
            self._told_at = now
            log.warning(
                "traces do not get to %s: %s; requests go on, and what waits beyond %d spans is lost",
                *(self._target.shown, failure, MOST),
            )

    def _came(self, answer: bytes) -> None:
        if self._silent_since is not None:
            silent, self._silent_since = self._clock() - self._silent_since, None
            self._told_at = float("-inf")
            log.info(
                "traces get to %s again, after %.0f s; %d spans are lost by now",
                *(self._target.shown, silent, self._ended["lost"]),
            )
        if left := rejected(answer):
            log.warning("%s took all but %d spans", self._target.shown, left)


async def _wait(event: asyncio.Event, limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), limit_s)
