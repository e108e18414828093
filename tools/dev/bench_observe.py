"""What the access log and the metrics cost: a request and a frame with them beside the same without.

Runs a gateway's own parts in one process, both sides in alternating rounds, and prints the least of
each, because noise only adds. A request is all that is told of one: its layers begin and end, its record
starts and ends, with one attempt; its line is formatted and written to /dev/null. A frame is one event with a
token.

Usage: python tools/dev/bench_observe.py [--rounds 7] [--requests 4000] [--json-lines]
"""

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferloom.v1.inference_pb2 import Delta, GenerateRequest, GenerateResponse
from inferloom_gateway.calls.listener import Listeners
from inferloom_gateway.calls.records import Attempt, Record
from inferloom_gateway.http.exchange import Exchange
from inferloom_gateway.http.stack import Layer
from inferloom_gateway.observe.access_log import RestLog
from inferloom_gateway.observe.meters import Doors, Meters
from inferloom_mesh.call_observer import CallObserver, SeenCall
from inferloom_mesh.context import CallContext
from inferloom_mesh.log_format import ACCESS, JsonFormatter, TextFormatter
from inferloom_mesh.metrics import Metrics
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.observe.meters import Meters as WorkerMeters

FRAMES = 32
"""Frames of a request, to tell the two apart."""


def record() -> Record:
    """A request's record as it is when it ends."""
    made = Record(
        CallContext("3f0c8a3b2a0d4bd1b2c9a001", caller="127.0.0.1:50000"), "generate", "a-model", 0.0
    )
    made.attempts.append(Attempt("worker-1", 1, (), 0.0, accepted_s=0.01, ended_s=0.2))
    made.prompt_tokens, made.completion_tokens, made.first_token_s, made.ended_s = 40, FRAMES, 0.02, 0.2
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


def call(observers: list[CallObserver], frames: int) -> None:
    """The frames of one call on a worker."""
    seen = SeenCall(
        "inferloom.v1.InferenceService", "Generate", GenerateRequest(model="a-model"), "ipv4:1.2.3.4:5"
    )
    event = GenerateResponse(delta=Delta(token_ids=[1], text="a"))
    for _ in range(frames):
        for observer in observers:
            observer.event(seen, event)


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
    start = time.process_time()
    metrics.snapshot()
    print(f"reading the metrics:                       {(time.process_time() - start) * 1e6:6.0f} µs")


def _never(*_: object) -> Any:
    raise NotImplementedError


if __name__ == "__main__":
    main()
