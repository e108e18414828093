"""Clients that do not read: what they asked for waits at the worker, and nobody else waits for them."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S, undisturbed
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, say_hello, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

CUT = "inferloom_slow_readers_total 1"

READERS = 64
PIECE = "x" * 2**14
PIECES = 512
MOST_HELD = 2**20
"""Bytes of one stream that may be under way: in its socket's buffers, and what its call has credit for."""

QUICK = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
LONG = {"model": "chat-model", "prompt": "long", "stream": True}


async def _open(mesh: GatewayMesh, buffer: int = 2**12) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a long stream, and read no more of it than a small buffer takes by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, mesh.rest)
    reader, writer = await asyncio.open_connection(sock=client, limit=buffer // 4)
    content = orjson.dumps(LONG)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)
    )
    return reader, writer


async def test_a_stream_beside_one_that_nobody_reads_is_complete(mesh: GatewayMesh) -> None:
    """Both come from one worker on one stream; the one that waits gets credit when it is read."""
    sent: Counter[str] = Counter()

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        count, piece = (PIECES, PIECE) if request.text == "long" else (200, "y")
        for index in range(count):
            sent[request.text] += 1
            yield delta(piece, index=index)
        yield finished()
        yield completed(count)

    def credit() -> int:
        assert mesh.worker.link is not None
        return sum(c.events for frame in mesh.worker.link.frames for c in frame.credits if c.call == 1)

    mesh.worker.script = script
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await _open(mesh)
        held = -1
        while held != sent["long"] or held == 0:
            held = sent["long"]
            answer = await mesh.http.post("/v1/completions", json={**LONG, "prompt": "short"})
            assert answer.text.count('"text":"y"') == 200
        given = credit()
        assert given < PIECES // 4
        whole = await reader.read()
        assert whole.count(PIECE.encode()) == PIECES
        assert credit() > given
        writer.close()


async def test_streams_that_nobody_reads_are_held_back_and_then_complete(mesh: GatewayMesh) -> None:
    """64 of them stop with little on its way, others are answered, and a late reader still gets all."""
    sent: Counter[str] = Counter()

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        if request.WhichOneof("input") == "chat":
            async for event in say_hello(worker, request):
                yield event
            return
        yield started(request, worker.id)
        for index in range(PIECES):
            sent[request.request_id] += len(PIECE)
            yield delta(PIECE, index=index)
        yield finished()
        yield completed(PIECES)

    async def others_are_answered() -> None:
        for _ in range(4):
            assert (await mesh.http.post("/v1/chat/completions", json=QUICK)).status_code == 200

    mesh.worker.script = script
    async with asyncio.timeout(PATIENCE_S):
        connections = [await _open(mesh) for _ in range(READERS)]
        while len(sent) < READERS:
            await others_are_answered()
        before = -1
        while before != sum(sent.values()):
            before = sum(sent.values())
            await others_are_answered()
        assert max(sent.values()) < MOST_HELD
        reader, _ = connections[0]
        whole = await reader.read()
        assert whole.count(PIECE.encode()) == PIECES
        assert b"data: [DONE]" in whole
        for _, writer in connections:
            writer.close()
        while mesh.worker.running:
            await others_are_answered()


@undisturbed(0.2)
async def test_who_takes_nothing_for_too_long_is_cut_off_and_a_slow_reader_is_not() -> None:
    """One that reads a little now and then gets all."""

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        for index in range(PIECES // 4):
            yield delta(PIECE, index=index)
        yield finished()
        yield completed(PIECES // 4)

    worker = FakeWorker()
    worker.script = script
    async with gateway_mesh(worker, slow_reader_s=0.9) as mesh, asyncio.timeout(PATIENCE_S):
        slow, slows = await _open(mesh, 2**17)  # a window of some segments, or it opens in jerks
        still, stills = await _open(mesh)
        taken = 0
        while CUT not in (await mesh.http.get("/metrics")).text:  # the slow one reads meanwhile, a little
            await asyncio.sleep(0.05)
            taken += len(await slow.read(2**14))
        assert taken < MOST_HELD
        assert (await slow.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        rest = b""
        with suppress(ConnectionError):
            rest = await still.read()
        assert b"[DONE]" not in rest
        assert CUT in (await mesh.http.get("/metrics")).text
        slows.close()
        stills.close()


@undisturbed(0.2)
async def test_a_call_whose_stream_nobody_reads_is_ended_and_a_slow_one_is_not() -> None:
    """Its slot is free then, what is under way is bounded, and its caller is told why when it reads on."""
    worker = FakeWorker()
    sent: Counter[str] = Counter()

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        for index in range(PIECES // 4):
            sent[request.text] += len(PIECE)
            yield delta(PIECE, index=index)
        yield finished()
        yield completed(PIECES // 4)

    worker.script = script
    async with gateway_mesh(worker, slow_reader_s=0.9) as mesh, asyncio.timeout(PATIENCE_S):
        still = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="still"))
        slow = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="slow"))
        events = aiter(still)
        await anext(events)
        taken = 0
        async for event in slow:
            taken += event.HasField("delta")
            if CUT not in (await mesh.http.get("/metrics")).text:
                await asyncio.sleep(0.03)
        assert taken == PIECES // 4
        assert CUT in (await mesh.http.get("/metrics")).text
        held = sent["still"]
        assert held < MOST_HELD
        await worker.runs(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [_ async for _ in events]
        assert from_rpc_error(caught.value).reason is Reason.REQUEST_TIMEOUT
        assert sent["still"] == held
