"""What the access log, the metrics and traces cost: a request and a frame with them beside the same without.

Runs a gateway's own parts in one process, both sides in alternating rounds, and prints the least of
each, because noise only adds. A request is all that is told of one: its layers begin and end, its record
starts and ends, with one attempt; its line is formatted and written to /dev/null. A frame is one event with a
token. A traced request is all spans of one that came over REST with one attempt, with the traceparent that it
brings and the one that it passes on; they are encoded as when they are sent, to nobody.

Usage: python tools/dev/bench_observe.py [--rounds 7] [--requests 4000] [--json-lines]
"""

import argparse
import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inferloom.v1.inference_pb2 import (
    FINISH_REASON_LENGTH,
    Completed,
    Delta,
    GenerateRequest,
    GenerateResponse,
    Timings,
    Usage,
)
from inferloom_gateway.calls.listener import Listeners
from inferloom_gateway.calls.records import Attempt, Record
from inferloom_gateway.http.caller import trace_of
from inferloom_gateway.http.exchange import Exchange, RawHeaders
from inferloom_gateway.http.stack import Layer
from inferloom_gateway.observe.access_log import RestLog
from inferloom_gateway.observe.call_spans import CallSpans
from inferloom_gateway.observe.door_spans import RestSpans
from inferloom_gateway.observe.meters import Doors, Meters
from inferloom_mesh.call_observer import CallObserver, SeenCall
from inferloom_mesh.context import CallContext
from inferloom_mesh.durations import duration
from inferloom_mesh.log_format import ACCESS, JsonFormatter, TextFormatter
from inferloom_mesh.metrics import Metrics
from inferloom_mesh.otlp_target import Target
from inferloom_mesh.span_export import SpanExport
from inferloom_mesh.tracer import Tracer
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.observe.meters import Meters as WorkerMeters
from inferloom_worker.observe.spans import Spans as WorkerSpans

FRAMES = 32
"""Frames of a request, to tell the two apart."""


TRACED = [
    (b"host", b"127.0.0.1:8000"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 3.54.0"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]
"""Headers of a request that is traced."""

ASKED = GenerateRequest(model="a-model", text="a")
ASKED.sampling.temperature = 0.5
ASKED.stopping.max_tokens = FRAMES
COMPLETED = GenerateResponse(
    completed=Completed(
        usage=Usage(prompt_tokens=40, completion_tokens=FRAMES),
        timings=Timings(queue=duration(0.01), prefill=duration(0.05), decode=duration(0.1)),
    )
)


def record(traceparent: str = "") -> Record:
    """A request's record as it is when it ends."""
    made = Record(
        CallContext("3f0c8a3b2a0d4bd1b2c9a001", caller="127.0.0.1:50000", traceparent=traceparent),
        *("generate", "a-model", 0.0),
    )
    tried = Attempt("worker-1", 1, (), 0.0, accepted_s=0.01, ended_s=0.2, address="127.0.0.1:7100")
    made.attempts.append(tried)
    made.prompt_tokens, made.completion_tokens, made.first_token_s, made.ended_s = 40, FRAMES, 0.02, 0.2
    made.finish_reasons.append(FINISH_REASON_LENGTH)
    return made


def request(layers: list[Layer], listeners: Listeners, frames: int) -> None:
    """All that is told of one request."""
    exchange = Exchange("POST", "/v1/chat/completions", ("127.0.0.1", 50000), [], "3f0c8a3b2a0d4bd1b2c9a001")
    exchange.status, exchange.record = 200, record()
    seen = exchange.record
    for layer in layers:
        layer.begin(exchange)
    listeners.on_started(seen)
    listeners.on_first_token(seen)
    for _ in range(frames):
        seen.frames += 1
        listeners.on_frame(seen, 1)
    listeners.on_attempt(seen, seen.attempts[0])
    listeners.on_ended(seen)
    for layer in layers:
        layer.end(exchange)


def traced_request(layers: list[Layer], listeners: Listeners, frames: int) -> None:
    """All that is told of one request that is traced, and what is passed on for it."""
    exchange = Exchange(
        *("POST", "/v1/chat/completions", ("127.0.0.1", 50000), TRACED, "3f0c8a3b2a0d4bd1b2c9a001"),
        status=200,
    )
    for layer in layers:
        layer.begin(exchange)
    here = trace_of(exchange)
    exchange.record = seen = record("" if here is None else here.parent)
    listeners.on_started(seen)
    attempt = seen.attempts[0]
    listeners.on_called(seen, attempt, ASKED)
    if attempt.span_id:
        replace(seen.context, traceparent=seen.context.traceparent[:36] + attempt.span_id + "-01")
    headers: RawHeaders = []
    for layer in layers:
        layer.head(exchange, headers)
    for _ in range(frames):
        seen.frames += 1
        listeners.on_frame(seen, 1)
    listeners.on_attempt(seen, attempt)
    listeners.on_ended(seen)
    for layer in layers:
        layer.end(exchange)


def call(observers: list[CallObserver], frames: int) -> None:
    """The frames of one call on a worker."""
    seen = SeenCall(
        "inferloom.v1.InferenceService", "Generate", GenerateRequest(model="a-model"), "ipv4:1.2.3.4:5"
    )
    event = GenerateResponse(delta=Delta(token_ids=[1], text="a"))
    for _ in range(frames):
        for observer in observers:
            observer.event(seen, event)


class Nobody:
    """Takes what is sent, and does nothing with it."""

    files = None

    async def send(self, message: bytes, limit_s: float) -> bytes:
        """Take it."""
        return b""

    async def close(self) -> None:
        """Nothing is open."""


async def spans_cost(rounds: int, requests: int) -> tuple[float, float, float]:
    """What a traced request costs beside one that is not, what a frame does, and what spans on the worker
    do, in microseconds."""
    export = SpanExport(Target("http/protobuf", "http://nobody", "nobody"), "bench", way=Nobody())
    tracer = Tracer(export, 1.0)
    bare, traced = Listeners(), Listeners()
    traced.add(CallSpans(tracer))
    layers: list[Layer] = [RestSpans(tracer, time.monotonic)]
    worker = WorkerSpans(tracer, lambda: "worker-1")
    sides: dict[str, Callable[[], None]] = {
        "bare": lambda: traced_request([], bare, 0),
        "traced": lambda: traced_request(layers, traced, 0),
        "bare frames": lambda: traced_request([], bare, FRAMES),
        "traced frames": lambda: traced_request(layers, traced, FRAMES),
        "worker": lambda: worker_call([worker]),
        "bare worker": lambda: worker_call([]),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    async with export.running():
        for _ in range(rounds):
            for name, run in sides.items():
                before = time.process_time()
                for n in range(requests):
                    run()
                    if n % 100 == 99:
                        await asyncio.sleep(0.005)  # lets what was made be encoded and sent
                while export.waiting:  # noqa: ASYNC110 # it tells nobody
                    await asyncio.sleep(0.005)
                found[name].append((time.process_time() - before) / requests * 1e6)
    assert not export.lost, "spans were lost, which cost nothing"
    cost = {name: min(times) for name, times in found.items()}
    request = cost["traced"] - cost["bare"]
    of_frames = (cost["traced frames"] - cost["bare frames"] - request) / FRAMES
    return request, of_frames, cost["worker"] - cost["bare worker"]


def worker_call(observers: list[CallObserver]) -> None:
    """A traced call on a worker that came on a link, from its beginning to its end."""
    context = CallContext("3f0c8a3b2a0d4bd1b2c9a001", traceparent=TRACED[-1][1].decode())
    seen = SeenCall("inferloom.v1.InferenceService", "Generate", ASKED, "ipv4:1.2.3.4:5", context)
    for observer in observers:
        observer.began(seen, None)
    seen.accepted_at, seen.first_s, seen.complete, seen.last = seen.began, 0.1, True, COMPLETED
    for observer in observers:
        observer.ended(seen)


def microseconds(run: Callable[[], None], times: int) -> float:
    """Processor time of one run."""
    before = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - before) / times * 1e6


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--json-lines", action="store_true", help="log as JSON")
    given = parser.parse_args()

    handler = logging.StreamHandler(Path("/dev/null").open("w"))  # noqa: SIM115 # to the end
    handler.setFormatter(JsonFormatter() if given.json_lines else TextFormatter())
    log = logging.getLogger(ACCESS)
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)

    metrics = Metrics()
    watched, bare = Listeners(), Listeners()
    watched.add(Meters(metrics, time.monotonic))
    layers: list[Layer] = [Doors(metrics), RestLog()]
    worker: list[CallObserver] = [WorkerMeters(Metrics(), ModelHost(_never, _never))]
    sides: dict[str, Callable[[], None]] = {
        "request": lambda: request(layers, watched, 0),
        "bare request": lambda: request([], bare, 0),
        "frames": lambda: request(layers, watched, FRAMES),
        "bare frames": lambda: request([], bare, FRAMES),
        "worker frames": lambda: call(worker, FRAMES),
        "bare worker frames": lambda: call([], FRAMES),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, run in sides.items():
            found[name].append(microseconds(run, given.requests))
    cost = {name: min(times) for name, times in found.items()}
    a_request = cost["request"] - cost["bare request"]
    of_frames = (cost["frames"] - cost["bare frames"] - a_request) / FRAMES
    on_worker = (cost["worker frames"] - cost["bare worker frames"]) / FRAMES
    print(f"log and metrics, a request on the gateway: {a_request:6.1f} µs")
    print(f"metrics, a frame on the gateway:           {of_frames:6.2f} µs")
    print(f"metrics, a frame on the worker:            {on_worker:6.2f} µs")
    request_us, frame_us, call_us = asyncio.run(spans_cost(given.rounds, given.requests))
    print(f"traces, a request on the gateway:          {request_us:6.1f} µs (bar: 100)")
    print(f"traces, a frame on the gateway:            {frame_us:6.2f} µs (bar: 1)")
    print(f"traces, a call on the worker:              {call_us:6.1f} µs")
    start = time.process_time()
    metrics.snapshot()
    print(f"reading the metrics:                       {(time.process_time() - start) * 1e6:6.0f} µs")


def _never(*_: object) -> Any:
    raise NotImplementedError


if __name__ == "__main__":
    main()
