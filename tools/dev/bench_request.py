"""What the code of a gateway and of a worker spends on a request and on a token, without any transport.

Usage: python tools/dev/bench_request.py [--rounds 9] [--requests 200] [--tokens 64] [--transport both]
       [--streams 32]

One process, one event loop. The gateway is asked through its HTTP protocol on a connection that is a list,
and its link's stream is one too: what a worker says there is what an echo worker has said before. The worker
is asked as by a gateway's stream, and answers with the echo engine. So all is measured that is the product's
own (parsing, layers, schemas, translation, routing, records, metrics, lines of the log, frames, text), and
nothing of gRPC's and of the kernel's; what this script itself spends on the other ends is
taken off. Frames come and go as a stream of gRPC's has them (``grpc``: messages,
for a reader and a writer), as a connection of the link's own has them (``tcp``: bytes, by callbacks), or both
in turn. With ``tcp`` the gateway is also asked by ``--streams`` clients at once, whose tokens share frames as
those of one engine's step do. The least of all rounds is printed, because noise only adds.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_gateway.calls.attach_link import AttachLink
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.app import create_app
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.responses.desk import Desk
from inferloom_gateway.http.rest_server import RestServer
from inferloom_gateway.observe.watch import Watch as Observed
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.streams.desk import StreamDesk
from inferloom_mesh.call_observer import Observers
from inferloom_mesh.frames import PREAMBLE, FrameReader, framed
from inferloom_mesh.log_format import ACCESS, TextFormatter
from inferloom_mesh.log_writer import TurnWriter
from inferloom_mesh.metrics import Metrics
from inferloom_mesh.net import Address
from inferloom_mesh.runtime import settle
from inferloom_mesh.security import OPEN
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.hosting.model_loading import load_adapter, load_model
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.observe.access_log import AccessLog
from inferloom_worker.observe.meters import Meters
from inferloom_worker.rpc.attach.attachment import Attachment
from inferloom_worker.rpc.attach.attachments import Attachments
from inferloom_worker.rpc.attach.gateway_connection import GatewayConnection
from inferloom_worker.rpc.attach.port_log import PortLog
from inferloom_worker.rpc.inference import Inference
from inferloom_worker.settings import WorkerSettings
from inferloom_worker.text.pool import TextPool

MODEL = "echo"
CREDIT = 2**20
PEER = "ipv4:127.0.0.1:50000"

Ask = Callable[[int], Awaitable[None]]
"""Makes one request for so many tokens."""


class Own:
    """What this script spends itself, in seconds of processor time, inside of what it measures."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.thread_time()

    def __exit__(self, *_: object) -> None:
        Own.seconds += time.thread_time() - self._began


class WorkerSide:
    """A worker behind its link."""

    def __init__(self, attachment: Attachment, host: ModelHost) -> None:
        self._attachment = attachment
        self._numbers = 0
        self._frames = attachment.frames()
        self.host = host
        self.said: list[link_pb2.AttachResponse] = []

    @classmethod
    async def start(cls, transport: str) -> "WorkerSide":
        """Load the echo engine."""
        settings = WorkerSettings(models=((MODEL, "echo:chunk=1"),))
        host = ModelHost(partial(load_model, options=settings.load_options()), load_adapter)
        await host.start(settings.models)
        description = SelfDescription(host, capacity=settings.max_running)
        description.bind("worker-1", Address("127.0.0.1", 1))
        inference = Inference(host, TextPool(), description)
        observers = [Meters(Metrics(), host), AccessLog(lambda: "worker-1")]
        if transport == "tcp":
            return ConnectedWorkerSide(Attachments(inference, host, description, observers), host)
        return cls(Attachment(inference, Observers(observers), PEER), host)

    def frame(self, tokens: int) -> bytes:
        """The frame of the next request."""
        self._numbers += 1
        start = link_pb2.StartCall(
            call=self._numbers, generate=_request(tokens), events=CREDIT, bytes=CREDIT * 64
        )
        start.context.request_id = "3f0c8a3b2a0d4bd1b2c9a001"
        start.context.caller = "127.0.0.1:5000"
        start.context.time_left.seconds = 600
        return link_pb2.AttachRequest(starts=[start]).SerializeToString()

    async def ask(self, tokens: int) -> None:
        """A request, from its frame to that of its end. What is parsed is a frame's bytes, as they come."""
        with Own():
            wire = self.frame(tokens)
        self.said.clear()
        self._attachment.take(link_pb2.AttachRequest.FromString(wire))
        async for frame in self._frames:
            self.said.append(frame)
            if frame.ends:
                return


class Pipe(asyncio.Transport):
    """A connection of the link's own, whose other end takes what is written frame by frame."""

    def __init__(self, connection: Any, take: Callable[[bytes], object]) -> None:
        super().__init__()
        self._connection = connection
        self._take = take
        self._reader = FrameReader()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        raise AssertionError("nothing is wrong with it")

    def write(self, data: Any) -> None:
        self._reader.feed(data)
        with Own():
            while (frame := self._reader.next()) is not None:
                self._take(frame)

    def give(self, frame: bytes, before: bytes = b"") -> None:
        """What the other end says, in a turn of the loop of its own."""
        asyncio.get_running_loop().call_soon(self._connection.data_received, before + framed(frame))


class ConnectedWorkerSide(WorkerSide):
    """A worker behind a connection of its own."""

    def __init__(self, attachments: Attachments, host: ModelHost) -> None:
        self._numbers = 0
        self.host = host
        self.said: list[link_pb2.AttachResponse] = []
        self._over: asyncio.Future[None] | None = None
        gateway = GatewayConnection(attachments, OPEN, lambda _: None, PortLog())
        self._connection = gateway.connection
        self._connection.connection_made(Pipe(self._connection, self._said))
        self._connection.data_received(PREAMBLE + framed(b""))

    def _said(self, frame: bytes) -> None:
        said = link_pb2.AttachResponse.FromString(frame)
        self.said.append(said)
        if said.ends and self._over is not None:
            self._over.set_result(None)

    async def ask(self, tokens: int) -> None:
        """The same, from the bytes that come to those that go."""
        with Own():
            wire = framed(self.frame(tokens))
        self.said.clear()
        self._over = asyncio.get_running_loop().create_future()
        self._connection.data_received(wire)
        await self._over


def _request(tokens: int) -> pb.GenerateRequest:
    part = pb.ContentPart(text="Tell me something of the number 17, and of those beside it.")
    return pb.GenerateRequest(
        model=MODEL,
        request_id="3f0c8a3b2a0d4bd1b2c9a001",
        chat=pb.ChatInput(messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[part])]),
        stopping=pb.StoppingOptions(max_tokens=tokens, ignore_eos=True),
    )


def answers(wire: bytes, scripts: dict[int, list[bytes]]) -> list[bytes]:
    """What a worker says to the calls of a frame."""
    found = []
    for start in link_pb2.AttachRequest.FromString(wire).starts:
        for script in scripts[start.generate.stopping.max_tokens]:
            said = link_pb2.AttachResponse.FromString(script)
            for events in (said.opening, said.closing, said.ends):
                for event in events:
                    event.call = start.call
            if said.deltas.call:
                del said.deltas.call[:]
                said.deltas.call.append(start.call)
            found.append(said.SerializeToString())
    return found


class Gathered:
    """Calls that come one by one and are answered together, a step of all in one frame."""

    def __init__(self, scripts: dict[int, list[bytes]]) -> None:
        self.streams = 1
        """How many calls are answered together."""
        self._scripts = scripts
        self._steps: list[list[bytes]] = []

    def take(self, wire: bytes) -> list[bytes]:
        """Take the calls of a frame; return what is said when it is enough."""
        starts = len(link_pb2.AttachRequest.FromString(wire).starts)
        said = answers(wire, self._scripts)
        if self.streams == 1:
            return said
        for call in range(starts):
            each = len(said) // starts
            self._steps.append(said[call * each : (call + 1) * each])
        if len(self._steps) < self.streams:
            return []
        steps, self._steps = self._steps, []
        return [_together(frames) for frames in zip(*steps, strict=True)]


def _together(frames: tuple[bytes, ...]) -> bytes:
    """What a worker says in one frame instead of several."""
    whole = link_pb2.AttachResponse()
    for frame in frames:
        whole.MergeFromString(frame)
    return whole.SerializeToString()


def connected(line: AttachLink, gathered: Gathered) -> None:
    """Attach a gateway's line by a connection of its own to a worker that says what it said before."""

    def take(frame: bytes) -> None:
        if stream.connection.open:
            for each in gathered.take(frame):
                pipe.give(each)
        else:
            pipe.give(b"", before=PREAMBLE)

    stream = TcpStream("worker", b"", vars(line)["_dialing"]._opened)
    pipe = Pipe(stream.connection, take)
    stream.connection.connection_made(pipe)


class Stream:
    """The gateway's end of a stream, whose other end says what a worker has said to the same request."""

    def __init__(self, scripts: dict[int, list[bytes]]) -> None:
        self._scripts = scripts
        self._ready: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None

    async def initial_metadata(self) -> None:
        """There is one."""

    def done(self) -> bool:
        """It goes on."""
        return False

    async def write(self, frame: link_pb2.AttachRequest) -> None:
        """Answer calls."""
        self._ready += answers(frame.SerializeToString(), self._scripts)
        if self._ready and self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def read(self) -> link_pb2.AttachResponse:
        """What it said, each frame in a turn of the loop of its own."""
        if self._ready:
            await asyncio.sleep(0)
        else:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return link_pb2.AttachResponse.FromString(self._ready.popleft())

    def cancel(self) -> None:
        """Nothing runs."""


class Transport(asyncio.Transport):
    """A client's connection, which takes all."""

    def __init__(self) -> None:
        super().__init__()
        self.done: asyncio.Future[None] | None = None
        self.writes = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.writes += 1
        if self.done is not None and bytes(data[-5:]) == b"0\r\n\r\n":
            self.done.set_result(None)

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class GatewaySide:
    """A gateway between its protocol and its link."""

    def __init__(self, clients: list[tuple[Any, Transport]], gathered: Gathered) -> None:
        self._clients = clients
        self._gathered = gathered

    @classmethod
    async def start(
        cls, card: pb.Model, scripts: dict[int, list[bytes]], transport: str, streams: int
    ) -> "GatewaySide":
        settings = GatewaySettings()
        gateway = Gateway.build(settings)
        intake = Intake(settings.body_memory_bytes)
        observed = Observed(gateway, intake)
        app = create_app(
            gateway,
            intake,
            Desk(gateway, intake),
            StreamDesk(gateway, {}),
            [],
            observed.read,
            observed.layers,
        )
        worker = rpb.Worker(
            id="worker-1", address="127.0.0.1:1", models=[card], capacity=256, state=rpb.WORKER_STATE_READY
        )
        entry = rpb.RegisteredWorker(worker=worker, epoch=1, lease_state=rpb.LEASE_STATE_ACTIVE)
        gateway.fleet.apply(rpb.WatchResponse(snapshot=rpb.Snapshot(workers=[entry])), gateway.clock())
        (member,) = gateway.fleet.members()
        line = gateway.connections.line(member)
        assert isinstance(line, AttachLink)
        gathered = Gathered(scripts)
        if transport == "tcp":
            connected(line, gathered)
            while line.transport != "tcp":  # noqa: ASYNC110 # a turn or two
                await asyncio.sleep(0)
        else:
            vars(line)["_attach"] = lambda **_: Stream(scripts)
            line.attach()
        server = RestServer(app.door, gateway, lambda *_: None, None)
        protocol: Any = server.config.http_protocol_class
        clients = []
        for _ in range(streams):
            door = Transport()
            connection = protocol(config=server.config, server_state=server.server_state, app_state={})
            connection.connection_made(door)
            clients.append((connection, door))
        return cls(clients, gathered)

    async def ask(self, tokens: int) -> None:
        """A request, from its bytes to the last of its answer."""
        await self._asked(self._clients[:1], tokens)

    async def ask_all(self, tokens: int) -> None:
        """The same by all clients at once."""
        await self._asked(self._clients, tokens)

    async def _asked(self, clients: list[tuple[Any, Transport]], tokens: int) -> None:
        with Own():
            asked = _asked(tokens)
        self._gathered.streams = len(clients)
        loop = asyncio.get_running_loop()
        waited = []
        for connection, door in clients:
            door.done = loop.create_future()
            waited.append(door.done)
            connection.data_received(asked)
        for done in waited:
            await done
        await asyncio.sleep(0)


def _asked(tokens: int) -> bytes:
    """A request as a client sends it."""
    message = {"role": "user", "content": "Tell me something of the number 17, and of those beside it."}
    asked = {"model": MODEL, "stream": True, "max_tokens": tokens, "ignore_eos": True, "messages": [message]}
    body = json.dumps(asked).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8000\r\nuser-agent: bench\r\n"
        b"accept: */*\r\n"
        b"authorization: Bearer none\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )


async def measure(ask: Ask, requests: int, tokens: int) -> float:
    """Microseconds of the process for a request."""
    before, Own.seconds = time.process_time(), 0.0
    for _ in range(requests):
        await ask(tokens)
    return (time.process_time() - before - Own.seconds) / requests * 1e6


async def run(given: argparse.Namespace) -> None:
    """Measure, and print."""
    nowhere = Path("/dev/null").open("w")  # noqa: ASYNC230,SIM115 # to the end
    # As the services do.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = TurnWriter(nowhere)
    handler.setFormatter(TextFormatter())
    access = logging.getLogger(ACCESS)
    access.setLevel(logging.INFO)
    access.propagate = False
    access.addHandler(handler)
    sides: dict[str, Ask] = {}
    at_once: dict[str, int] = {}
    for transport in ("grpc", "tcp") if given.transport == "both" else (given.transport,):
        worker = await WorkerSide.start(transport)
        scripts = {}
        for tokens in (1, given.tokens):
            for _ in range(40):
                await worker.ask(tokens)
            scripts[tokens] = [frame.SerializeToString() for frame in worker.said]
        gateway = await GatewaySide.start(worker.host.cards[0], scripts, transport, given.streams)
        sides |= {f"gateway, {transport}": gateway.ask, f"worker, {transport}": worker.ask}
        if transport == "tcp" and given.streams > 1:
            sides[f"gateway, {transport}, {given.streams} at once"] = gateway.ask_all
            at_once[f"gateway, {transport}, {given.streams} at once"] = given.streams
    settle()  # as a service that is ready
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(given.rounds):
        for name, ask in sides.items():
            each = at_once.get(name, 1)
            for tokens, requests in ((1, given.requests), (given.tokens, given.requests // 8)):
                spent = await measure(ask, max(1, requests // each), tokens) / each
                found.setdefault((name, tokens), []).append(spent)
    for name in sides:
        one, many = found[name, 1], found[name, given.tokens]
        a_token = (min(many) - min(one)) / (given.tokens - 1)
        print(
            f"{name:25} a request of one token {min(one):7.1f} us (median {statistics.median(one):.1f}),"
            f" a token {a_token:6.2f} us",
            flush=True,
        )


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--streams", type=int, default=32, help="clients at once; 1: no such measurement")
    parser.add_argument("--transport", choices=("tcp", "grpc", "both"), default="both")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
