"""Measure how fast a mesh generates: tokens per second over all streams, and the wait for the first token.

Usage: python tools/dev/bench.py [--streams 1 32] [--tokens 64] [--gateway HOST:PORT]

Without --gateway it starts a mesh of its own with the demo models, and stops it afterwards.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.channel import open_channel

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

MODEL = "smollm2-135m-instruct"
FREE_PORTS = [part for name in ("", "grpc-", "registry-", "worker-") for part in (f"--{name}port", "0")]


@dataclass(frozen=True)
class Result:
    """One round of streams that ran together."""

    streams: int
    tokens_per_second: float
    first_token_s: float
    """Median over the streams."""


@contextmanager
def mesh(**environment: str) -> Iterator[str]:
    """Run a mesh, with these variables set; yield its gateway's gRPC address."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "inferloom_cli", "up", *FREE_PORTS, "--ready-file", str(ready)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | environment)
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit("the mesh did not start")
                time.sleep(0.1)
            yield json.loads(ready.read_text())["grpc"]
        finally:
            process.terminate()
            process.wait()


async def stream(stub: "InferenceServiceAsyncStub", number: int, tokens: int) -> tuple[int, float]:
    """Run one stream; return its tokens and the wait for the first of them."""
    request = pb.GenerateRequest(
        model=MODEL,
        text=f"Once upon a time, in the year {1000 + number}, there was",
        sampling=pb.SamplingOptions(temperature=0),
        stopping=pb.StoppingOptions(max_tokens=tokens, ignore_eos=True),
    )
    began, first, count = time.monotonic(), 0.0, 0
    async for event in stub.Generate(request):
        if event.HasField("delta"):
            first = first or time.monotonic() - began
            count += len(event.delta.token_ids)
    return count, first


async def measure(gateway: str, streams: int, tokens: int) -> Result:
    """Run ``streams`` streams together."""
    async with open_channel(gateway) as channel:
        stub = InferenceServiceStub(channel)
        await stream(stub, 0, 4)  # the connection, and whatever is made at first use
        began = time.monotonic()
        done = await asyncio.gather(*(stream(stub, number, tokens) for number in range(streams)))
        seconds = time.monotonic() - began
    total = sum(count for count, _ in done)
    return Result(streams, total / seconds, statistics.median(first for _, first in done))


def report(gateway: str, rounds: list[int], tokens: int) -> None:
    """Measure each round and print a row for it."""
    base = None
    print(f"{'streams':>7}  {'tokens/s':>8}  {'first token':>11}  {'ratio':>5}")
    for streams in rounds:
        result = asyncio.run(measure(gateway, streams, tokens))
        base = base or result.tokens_per_second
        ratio = result.tokens_per_second / base
        first = f"{result.first_token_s * 1000:.0f} ms"
        print(f"{streams:>7}  {result.tokens_per_second:>8.1f}  {first:>11}  {ratio:>5.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--gateway")
    args = parser.parse_args()
    if args.gateway:
        report(args.gateway, args.streams, args.tokens)
    else:
        with mesh() as gateway:
            report(gateway, args.streams, args.tokens)


if __name__ == "__main__":
    main()
