"""The gateway's metrics: under vLLM's names where they mean the same, under ours elsewhere."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator

from inferloom_gateway.calls.link import WorkerLink
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Attempt, Move, Record
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.tally import FAILURES, MODEL_FAILURES, SLOW
from inferloom_gateway.http.exchange import Exchange
from inferloom_gateway.http.stack import Layer
from inferloom_gateway.observe.access_log import QUIET, outcome
from inferloom_mesh.access_line import CANCELLED, error_name
from inferloom_mesh.call_observer import CallObserver, SeenCall
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.metrics import Metrics
from inferloom_mesh.request_meters import MODEL, RequestMeters

OK = "ok"
UNKNOWN = "unknown"
_OTHER = "other"
"""What is asked where no worker is."""


class Meters(Listener):
    """Counts what becomes of requests to workers.

    Models have a label only where a worker has them: what callers make up would grow without end.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._attempts = metrics.counter(
            "inferloom_attempts", "Calls to workers that ended, by how.", "worker", "outcome"
        )
        self._retries = metrics.counter(
            "inferloom_retries", "Calls to workers after another worker had failed.", MODEL
        )
        self._moves = metrics.counter(
            "inferloom_moves",
            "Answers that went on at another worker behind what their callers had, by why.",
            MODEL,
            "reason",
        )
        self._meters = RequestMeters(metrics)

    def on_attempt(self, record: Record, attempt: Attempt) -> None:
        """Count an attempt by how it ended."""
        self._attempts.add(attempt.worker, error_name(attempt.error) or OK)
        if attempt.again:
            self._retries.add(record.model)

    def on_moved(self, record: Record, move: Move) -> None:
        """Count a move by what it was for."""
        self._moves.add(record.model, move.why or UNKNOWN)

    def on_frame(self, record: Record, count: int) -> None:
        """Measure since the last frame."""
        if record.method == "generate":
            now = self._clock() - record.began
            if record.frames > 1:
                self._meters.between.add(now - record.last_frame_s, record.model)
            record.last_frame_s = now

    def on_ended(self, record: Record) -> None:
        """Count what the request used, and how long it took."""
        model = record.model
        if not record.attempts:
            return
        generates, meters = record.method == "generate", self._meters
        if record.first_token_s is not None and generates:
            meters.first.add(record.first_token_s, model)
        if not record.prompt_tokens:
            meters.generated.add(model, by=record.delivered if generates else 0)
            return
        meters.read(model, record.prompt_tokens, record.queue_s, record.prefill_s)
        if record.error is None and not record.cancelled:
            meters.whole.add(record.ended_s or 0.0, model)
        if generates:
            meters.generated.add(model, by=record.completion_tokens)
            meters.answered(model, record.completion_tokens, record.decode_s)


class Doors(Layer, CallObserver):
    """Counts the requests of both doors by what became of them, those too that no worker saw."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter(
            "inferloom_requests",
            "Requests that ended, by what became of them.",
            "door",
            "asked",
            MODEL,
            "outcome",
        )

    def end(self, exchange: Exchange) -> None:
        """Count a request of the REST door."""
        if exchange.path not in QUIET:
            self._count(exchange.door, exchange.record, outcome(exchange))

    def refused(self, error: InferloomError) -> None:
        """Count what never became a request."""
        self._count("rest", None, error_name(error))

    def ended(self, call: SeenCall) -> None:
        """Count a call of the gRPC door."""
        record = call.note if isinstance(call.note, Record) else None
        self._count("grpc", record, error_name(call.error) or ("" if call.complete else CANCELLED))

    def _count(self, door: str, record: Record | None, error: str) -> None:
        asked, model = _OTHER, ""
        if record is not None:
            asked, model = record.method, record.model if record.attempts else ""
        self._requests.add(door, asked, model, error or OK)


def measure_lines(metrics: Metrics, connections: Connections[WorkerLink]) -> None:
    """Add how workers are called."""

    def transports() -> Iterator[tuple[tuple[str, ...], float]]:
        tally = Tally(line.transport for line in connections.lines())
        for transport in ("tcp", "grpc", "call"):
            yield (transport,), tally[transport]

    text = "Workers, by what carries calls to them."
    metrics.gauge("inferloom_links", text, ("transport",), transports, merged="largest")


def measure_fleet(metrics: Metrics, fleet: Fleet, clock: Callable[[], float] = time.monotonic) -> None:
    """Add what is known of the workers."""

    def states() -> Iterator[tuple[tuple[str, ...], float]]:
        now = clock()
        tally = Tally(_state(member, now) for member in fleet.members())
        for state in ("ready", "not_ready", "suspect", "ejected", "unreachable"):
            yield (state,), tally[state]

    text = "Workers, by what speaks for and against them."
    metrics.gauge("inferloom_workers", text, ("state",), states, merged="largest")
    metrics.gauge(
        "inferloom_calls_in_flight",
        "Calls that run on each worker, of this gateway's.",
        ("worker",),
        lambda: (((member.id,), member.in_flight) for member in fleet.members()),
        merged="sum",
    )
    metrics.read_counter(
        "inferloom_ejections",
        "Workers that were left alone for a while because they, or one of their models, failed or were slow.",
        ("reason",),
        lambda: [((reason,), fleet.ejections[reason]) for reason in (FAILURES, MODEL_FAILURES, SLOW)],
    )

    def failing() -> Iterator[tuple[tuple[str, ...], float]]:
        now = clock()
        tally = Tally(name for member in fleet.members() for name in member.failing(now))
        yield from (((name,), count) for name, count in tally.items())

    text = "Workers that are left alone for a model, because it fails there."
    metrics.gauge("inferloom_workers_failing", text, (MODEL,), failing, merged="largest")


def _state(member: Member, now: float) -> str:
    if not member.health.reachable:
        return "unreachable"
    if member.out(now):
        return "ejected"
    if member.suspect_since is not None:
        return "suspect"
    return "ready" if member.ready else "not_ready"
