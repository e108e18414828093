"""Measure what a worker spends on a streamed token and on a request, by calls of their own and on the link.

Usage: python tools/dev/bench_link.py [--streams 32] [--tokens 256] [--rounds 5] [--spec echo:chunk=1]
       [--transport both] [--worker COMMAND]

It starts a worker with the echo engine, whose access log and metrics are on, as a process of its own, and
asks it in alternating rounds. Time is the processor time of that process, by the kernel's accounting; what a
client spends is not in it. The link is asked by gRPC's Attach (``grpc``), at its own port (``tcp``), or both.
``--worker`` is the command that runs a worker, for another version of one; what that has not is left out.
"""

import argparse
import asyncio
import json
import shlex
import statistics
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2, worker_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.link_pb2_grpc import LinkServiceStub
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.frames import PREAMBLE, framed

CREDIT = 64
BYTES = 2**18

Ask = Callable[[int, int, int], Awaitable[None]]
"""Makes so many requests for so many tokens, so many at once."""


def request(number: int, tokens: int) -> pb.GenerateRequest:
    """A short conversation, as an application sends it."""
    part = pb.ContentPart(text=f"Tell me something of the number {number}, and of those beside it.")
    return pb.GenerateRequest(
        model="echo",
        request_id=f"bench-{number}",
        chat=pb.ChatInput(messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[part])]),
        stopping=pb.StoppingOptions(max_tokens=tokens, ignore_eos=True),
    )


def by_calls(stub: Any) -> Ask:
    """A call for each request."""

    async def ask(count: int, tokens: int, at_once: int) -> None:
        numbers = iter(range(count))

        async def one_after_another() -> None:
            for number in numbers:
                async for _ in stub.Generate(request(number, tokens)):
                    pass

        await asyncio.gather(*(one_after_another() for _ in range(at_once)))

    return ask


def on_link(call: Any) -> Ask:
    """All on one stream."""

    async def ask(count: int, tokens: int, at_once: int) -> None:
        numbers = iter(range(count))
        used: dict[int, int] = {}
        waiting: list[link_pb2.StartCall] = []

        def begin() -> None:
            for number in numbers:
                used[number] = 0
                waiting.append(
                    link_pb2.StartCall(
                        call=number, generate=request(number, tokens), events=CREDIT, bytes=BYTES
                    )
                )
                return

        for _ in range(at_once):
            begin()
        while used:
            up = link_pb2.AttachRequest(starts=waiting)
            waiting.clear()
            for number in [number for number, events in used.items() if events >= CREDIT // 2]:
                up.credits.add(call=number, events=used[number], bytes=BYTES // 2)
                used[number] = 0
            if up.starts or up.credits:
                await call.write(up)
            frame = await call.read()
            for number in frame.deltas.call:
                used[number] += 1
            for end in frame.ends:
                assert not end.code, end
                del used[end.call]
                begin()

    return ask


class Connection:
    """A connection to a worker's link port, in the form of an Attach call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str) -> "Connection":
        """Attach."""
        host, _, port = address.rpartition(":")
        opened = cls(*await asyncio.open_connection(host, int(port)))
        opened._writer.write(PREAMBLE + framed(b""))
        await opened._reader.readexactly(len(PREAMBLE) + 4)
        return opened

    async def write(self, frame: link_pb2.AttachRequest) -> None:
        """Send a frame."""
        self._writer.write(framed(frame.SerializeToString()))

    async def read(self) -> link_pb2.AttachResponse:
        """The next frame."""
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        return link_pb2.AttachResponse.FromString(await self._reader.readexactly(size))

    def cancel(self) -> None:
        """End it."""
        self._writer.close()


def seconds(pid: int) -> float:
    """Processor time that a process has used."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


async def measure(ask: Ask, pid: int, requests: int, tokens: int, streams: int) -> float:
    """Microseconds of a process for each token of a load."""
    before = seconds(pid)
    await ask(requests, tokens, streams)
    return (seconds(pid) - before) * 1e6 / (requests * tokens)


async def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [
            *shlex.split(options.worker),
            *(
                "worker",
                "--model",
                f"echo={options.spec}",
                "--registry",
                "127.0.0.1:1",
                "--listen",
                "127.0.0.1:0",
            ),
            *("--ready-file", str(ready)),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            while not ready.exists():  # noqa: ASYNC110 # another process makes it
                await asyncio.sleep(0.1)
            await compare(options, process.pid, address_of(ready))
        finally:
            process.terminate()
            await process.wait()


def address_of(ready: Path) -> str:
    """Where a worker listens, as it says itself."""

    return str(json.loads(ready.read_text())["address"])


async def compare(options: argparse.Namespace, pid: int, address: str) -> None:
    """Alternate, and print medians with their spread."""
    async with open_channel(address) as channel:
        ways = {"calls": by_calls(InferenceServiceStub(channel))}
        calls: list[Any] = []
        if options.transport != "tcp":
            calls.append(LinkServiceStub(channel).Attach())
            with suppress(grpc.aio.AioRpcError):
                await calls[-1].read()
                ways["link by grpc"] = on_link(calls[-1])
        if options.transport != "grpc":
            control: Any = WorkerServiceStub(channel)
            status = await control.GetStatus(worker_pb2.GetStatusRequest())
            if where := getattr(status.worker, "link_address", ""):
                calls.append(await Connection.open(where))
                ways["link by tcp"] = on_link(calls[-1])
        loads = {
            "streamed token": (options.streams * 2, options.tokens),
            "request": (options.streams * 20, 1),
        }
        found: dict[tuple[str, str], list[float]] = {}
        for ask in ways.values():
            await ask(64, 1, options.streams)
        for _ in range(options.rounds):
            for what, (requests, tokens) in loads.items():
                for way, ask in ways.items():
                    took = await measure(ask, pid, requests, tokens, options.streams)
                    found.setdefault((what, way), []).append(took)
        for (what, way), times in found.items():
            print(
                f"{what:16} {way:12} {statistics.median(times):7.1f} us  "
                f"({min(times):.1f} to {max(times):.1f})",
                flush=True,
            )
        for call in calls:
            call.cancel()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transport", choices=("tcp", "grpc", "both"), default="both")
    parser.add_argument("--spec", default="echo:chunk=1")
    parser.add_argument("--worker", default=f"{sys.executable} -m inferloom_cli")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
